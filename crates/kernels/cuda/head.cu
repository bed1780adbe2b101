// Log-probabilities and entropies of tokens from hidden rows, in blocks of VOCABULARY_BLOCK tokens, without the logits of
// all rows: logits = hidden · headᵀ · inverse_temperature in bf16 factors and f32 sums. C is a multiple of 8.
//
// A block of threads has HEAD_ROWS rows and one vocabulary block, which it passes over in stretches of HEAD_COLUMNS tokens;
// each of its four warps has half of the rows and half of a stretch.
#include "base.cuh"

constexpr int STEP = 64; // of C at a time
constexpr int STRIDE = STEP + 8;
constexpr int LEFT_TILE = HEAD_ROWS * STRIDE, STAGE = LEFT_TILE + HEAD_COLUMNS * STRIDE;
constexpr int ROW_TILES = HEAD_ROWS / 2 / 16, COLUMN_TILES = HEAD_COLUMNS / 2 / 8;

// Hidden rows [N, C] and head [V, C] in bf16.
struct Product {
    const bf16 *hidden, *head;
    int rows, vocabulary, width;
    float inverse_temperature; // 1 leaves the logits as they are
};

// What one vocabulary block of a row comes to, as in ../src/logprob.rs.
struct BlockSum {
    float largest; // the smallest f32 for a block of −∞ alone
    float weight;  // Σ exp(logit − largest)
    float below;   // Σ exp(logit − largest)·(logit − largest)
};

// Begins to copy columns [at, at + STEP) of rows [first, first + height) to a tile; 0 beyond `end` and beyond C.
DEVICE void copy_columns(bf16 *tile, const bf16 *rows, int first, int end, int height, int at, int width) {
    for (int index = threadIdx.x; index < height * (STEP / 8); index += HEAD_THREADS) {
        const int row = index / (STEP / 8), column = at + index % (STEP / 8) * 8;
        const bool is_there = first + row < end && column < width;
        const bf16 *from = is_there ? rows + (size_t)(first + row) * width + column : rows;
        copy_begin(tile + row * STRIDE + index % (STEP / 8) * 8, from, is_there);
    }
}

DEVICE void copy_stage(bf16 *stage, const Product &product, int row, int column, int at) {
    copy_columns(stage, product.hidden, row, product.rows, HEAD_ROWS, at, product.width);
    copy_columns(stage + LEFT_TILE, product.head, column, product.vocabulary, HEAD_COLUMNS, at, product.width);
    copy_commit();
}

typedef float Logits[ROW_TILES][COLUMN_TILES][4];

DEVICE int warp_row() { return warp_index() / 2 * (HEAD_ROWS / 2); }
DEVICE int warp_column() { return warp_index() % 2 * (HEAD_COLUMNS / 2); }
// Row and column within the block of threads' rectangle of number i of a tile.
DEVICE int row_of(int tile, int i) { return warp_row() + tile * 16 + lane_index() / 4 + i / 2 * 8; }
DEVICE int column_of(int tile, int i) { return warp_column() + tile * 8 + lane_index() % 4 * 2 + i % 2; }

// The warp's logits of rows from `row` and tokens from `column` on, one chain over C each.
DEVICE void logits_of(Logits &logits, bf16 *stages, const Product &product, int row, int column) {
    for (int tile = 0; tile < ROW_TILES; tile++) {
        for (int other = 0; other < COLUMN_TILES; other++) {
            for (int i = 0; i < 4; i++) logits[tile][other][i] = 0.0f;
        }
    }
    const int steps = (product.width + STEP - 1) / STEP, lane = lane_index();
    copy_stage(stages, product, row, column, 0);
    for (int step = 0; step < steps; step++) {
        const bf16 *left = stages + step % 2 * STAGE, *right = left + LEFT_TILE;
        copy_ahead(step + 1 < steps,
                   [&] { copy_stage(stages + (step + 1) % 2 * STAGE, product, row, column, (step + 1) * STEP); });
#pragma unroll
        for (int at = 0; at < STEP; at += 16) {
            u32 words[ROW_TILES][4];
#pragma unroll
            for (int tile = 0; tile < ROW_TILES; tile++) {
                load_matrices(words[tile], left + (warp_row() + tile * 16 + lane % 16) * STRIDE + at + lane / 16 * 8);
            }
#pragma unroll
            for (int pair = 0; pair < COLUMN_TILES / 2; pair++) {
                u32 columns[4];
                const int token = warp_column() + pair * 16 + lane / 16 * 8 + lane % 8;
                load_matrices(columns, right + token * STRIDE + at + lane / 8 % 2 * 8);
#pragma unroll
                for (int tile = 0; tile < ROW_TILES; tile++) {
                    multiply_add(logits[tile][2 * pair], words[tile], columns[0], columns[1]);
                    multiply_add(logits[tile][2 * pair + 1], words[tile], columns[2], columns[3]);
                }
            }
        }
        __syncthreads();
    }
    for (int tile = 0; tile < ROW_TILES; tile++) {
        for (int other = 0; other < COLUMN_TILES; other++) {
            for (int i = 0; i < 4; i++) logits[tile][other][i] *= product.inverse_temperature;
        }
    }
}

// Sum of both, over the larger of their largest.
DEVICE BlockSum together(const BlockSum &a, const BlockSum &b) {
    const float largest = a.largest > b.largest ? a.largest : b.largest;
    const float da = a.largest - largest, db = b.largest - largest;
    // exponential(0) is exactly 1; a side of no weight adds nothing.
    const float wa = a.weight == 0.0f ? 0.0f : exponential(da), wb = b.weight == 0.0f ? 0.0f : exponential(db);
    const float ca = da < -87.0f ? -87.0f : da, cb = db < -87.0f ? -87.0f : db;
    return {largest, a.weight * wa + b.weight * wb,
            wa * fmaf(a.weight, ca, a.below) + wb * fmaf(b.weight, cb, b.below)};
}

// Of four neighbouring lanes, which have the columns of one row.
DEVICE BlockSum over_lanes(BlockSum sum) {
    for (int distance = 1; distance < 4; distance *= 2) {
        const BlockSum other = {__shfl_xor_sync(ALL_LANES, sum.largest, distance),
                                __shfl_xor_sync(ALL_LANES, sum.weight, distance),
                                __shfl_xor_sync(ALL_LANES, sum.below, distance)};
        // The lower lane's sum comes first, so that both have the same bits.
        sum = lane_index() & distance ? together(other, sum) : together(sum, other);
    }
    return sum;
}

// What a lane's columns of one stretch come to, of row tile `tile` and half `half` of its rows.
DEVICE BlockSum stretch_sum(const Logits &logits, int tile, int half, int tokens) {
    BlockSum sum = {-3.40282347e38f, 0.0f, 0.0f};
#pragma unroll
    for (int other = 0; other < COLUMN_TILES; other++) {
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; i++) {
            if (column_of(other, i) < tokens) sum.largest = fmaxf(sum.largest, logits[tile][other][i]);
        }
    }
#pragma unroll
    for (int other = 0; other < COLUMN_TILES; other++) {
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; i++) {
            if (column_of(other, i) >= tokens) continue;
            const float below = logits[tile][other][i] - sum.largest, weight = exponential(below);
            sum.weight += weight;
            // No further below than `exponential` reaches: a logit of −∞ has p·ln p = 0.
            sum.below = fmaf(weight, below < -87.0f ? -87.0f : below, sum.below);
        }
    }
    return sum;
}

// sums [N, blocks] of every vocabulary block; target_logits [N] at `tokens` [N], unless those are null; all logits [N, V],
// unless that is null. Grid: (row tiles, vocabulary blocks).
KERNEL(HEAD_THREADS, 1)
head_sums(BlockSum *sums, float *target_logits, float *all_logits, const u32 *tokens, Product product) {
    bf16 *stages = reinterpret_cast<bf16 *>(shared_bytes);
    BlockSum *halves = reinterpret_cast<BlockSum *>(stages + 2 * STAGE); // [HEAD_ROWS], of the right half of the columns
    const int row = blockIdx.x * HEAD_ROWS, first = blockIdx.y * VOCABULARY_BLOCK;
    const int end = first + VOCABULARY_BLOCK < product.vocabulary ? first + VOCABULARY_BLOCK : product.vocabulary;
    BlockSum own[ROW_TILES][2];
#pragma unroll
    for (int tile = 0; tile < ROW_TILES; tile++) own[tile][0] = own[tile][1] = {-3.40282347e38f, 0.0f, 0.0f};
    for (int column = first; column < end; column += HEAD_COLUMNS) {
        Logits logits;
        logits_of(logits, stages, product, row, column);
        const int tokens_there = end - column;
#pragma unroll
        for (int tile = 0; tile < ROW_TILES; tile++) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                own[tile][half] = together(own[tile][half], stretch_sum(logits, tile, half, tokens_there));
                const int at = row + row_of(tile, 2 * half);
                if (at >= product.rows) continue;
                const u32 target = tokens ? tokens[at] : product.vocabulary;
#pragma unroll
                for (int other = 0; other < COLUMN_TILES; other++) {
#pragma unroll
                    for (int i = 2 * half; i < 2 * half + 2; i++) {
                        const int token = column_of(other, i);
                        if (token >= tokens_there) continue;
                        if ((u32)(column + token) == target) target_logits[at] = logits[tile][other][i];
                        if (all_logits) all_logits[(size_t)at * product.vocabulary + column + token] = logits[tile][other][i];
                    }
                }
            }
        }
    }
#pragma unroll
    for (int tile = 0; tile < ROW_TILES; tile++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            own[tile][half] = over_lanes(own[tile][half]);
            if (warp_column() > 0 && lane_index() % 4 == 0) halves[row_of(tile, 2 * half)] = own[tile][half];
        }
    }
    __syncthreads();
#pragma unroll
    for (int tile = 0; tile < ROW_TILES; tile++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int within = row_of(tile, 2 * half);
            if (warp_column() > 0 || lane_index() % 4 != 0 || row + within >= product.rows) continue;
            sums[(size_t)(row + within) * gridDim.y + blockIdx.y] = together(own[tile][half], halves[within]);
        }
    }
}

// What a row's distribution comes to, nats.
struct TokenLogprob {
    float logprob, entropy, log_sum;
};

// Puts the blocks of each row together in f64: out [N] of sums [N, blocks] and target_logits [N]. One warp a row.
KERNEL(THREADS)
head_logprobs(TokenLogprob *out, const BlockSum *sums, const float *target_logits, int rows, int blocks) {
    const int row = blockIdx.x * (THREADS / 32) + warp_index();
    if (row >= rows) return;
    sums += (size_t)row * blocks;
    float largest = -3.40282347e38f;
    for (int block = lane_index(); block < blocks; block += 32) largest = fmaxf(largest, sums[block].largest);
    largest = warp_max(largest);
    double sum = 0.0, below = 0.0;
    for (int block = lane_index(); block < blocks; block += 32) {
        const double distance = (double)sums[block].largest - (double)largest, scale = exp(distance);
        sum += scale * (double)sums[block].weight;
        below += scale * ((double)sums[block].below + (double)sums[block].weight * distance);
    }
    sum = warp_sum(sum);
    below = warp_sum(below);
    if (lane_index() != 0) return;
    // −Σ p·ln p = ln sum − Σ p·(logit − largest).
    const double natural = log(sum);
    const float log_sum = largest + (float)natural;
    out[row] = {target_logits[row] - log_sum, (float)(natural - below / sum), log_sum};
}

// The gradients of the logits of some rows, [rows, stride] in bf16, which two products turn into those of hidden rows and
// head: logprob_gradient·(1[token = target] − p)/temperature; columns from V to `stride`, which is a multiple of 8, get 0.
// Grid: (row tiles, vocabulary blocks).
KERNEL(HEAD_THREADS, 1)
head_gradients(bf16 *logit_gradients, const float *logprob_gradients, const TokenLogprob *logprobs, const u32 *tokens,
               Product product, int stride) {
    bf16 *stages = reinterpret_cast<bf16 *>(shared_bytes);
    const int row = blockIdx.x * HEAD_ROWS, first = blockIdx.y * VOCABULARY_BLOCK;
    const int end = first + VOCABULARY_BLOCK < stride ? first + VOCABULARY_BLOCK : stride;
    for (int column = first; column < end; column += HEAD_COLUMNS) {
        Logits logits;
        logits_of(logits, stages, product, row, column);
#pragma unroll
        for (int tile = 0; tile < ROW_TILES; tile++) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int at = row + row_of(tile, 2 * half);
                if (at >= product.rows) continue;
                const float factor = logprob_gradients[at] * product.inverse_temperature, log_sum = logprobs[at].log_sum;
                const u32 target = tokens[at];
#pragma unroll
                for (int other = 0; other < COLUMN_TILES; other++) {
                    const int token = column + column_of(other, 0);
                    if (token >= end) continue;
                    float gradient[2];
                    for (int i = 0; i < 2; i++) {
                        const float p = exponential(logits[tile][other][2 * half + i] - log_sum);
                        gradient[i] = -factor * p + ((u32)(token + i) == target ? factor : 0.0f);
                        if (token + i >= product.vocabulary) gradient[i] = 0.0f;
                    }
                    *reinterpret_cast<u32 *>(logit_gradients + (size_t)at * stride + token) =
                        rounded_pair(gradient[0], gradient[1]);
                }
            }
        }
    }
}
