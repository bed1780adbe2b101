// Gradients of keys and values: the other half of attention.cu's backward. No two blocks write one number, and a number is
// one sum over query rows in their order, so that nothing depends on chance.
#include "tile.cuh"

// At most TILE_KEYS neighbouring rows of one part as keys. The part's rows from `first` to `own_end` see them causally, and
// all rows from there to `tree_end` see all of them (the branches, when the part is a trunk).
struct KeyBlock {
    int first, rows, own_end, tree_end;
};

constexpr int QUERY_TILE = TILE_QUERIES * STRIDE;
constexpr int QUERY_COLUMNS = TILE_QUERIES / 8;

// Query rows that are taken together: of one head, rows [first, first + rows).
struct QueryTile {
    int first, rows, head;
};

// Tile `index` of those that see the block: of every stretch of TILE_QUERIES rows one tile a head, the part's own stretches
// first.
DEVICE QueryTile query_tile(const KeyBlock &block, int index, int key_value_head, int ratio) {
    const int own = (block.own_end - block.first + TILE_QUERIES - 1) / TILE_QUERIES, stretch = index / ratio;
    const bool is_own = stretch < own;
    const int first = is_own ? block.first + stretch * TILE_QUERIES : block.own_end + (stretch - own) * TILE_QUERIES;
    const int left = (is_own ? block.own_end : block.tree_end) - first;
    return {first, left < TILE_QUERIES ? left : TILE_QUERIES, key_value_head * ratio + index % ratio};
}

// What the forward read and left, and the gradient of its output.
struct Forward {
    const bf16 *queries, *keys, *values, *out_gradient;
    const float *log_sums, *delta;
};

// Begins to copy the queries of a tile and their output's gradients to `to`, and copies their sums to `numbers`.
DEVICE void copy_queries(bf16 *to, float *numbers, const QueryTile &tile, const Forward &forward, Heads heads) {
    const size_t stride = (size_t)heads.query * HEAD_WIDTH, at = tile.first * stride + tile.head * HEAD_WIDTH;
    copy_rows(to, forward.queries + at, stride, tile.rows, TILE_QUERIES, ATTENTION_THREADS);
    copy_rows(to + QUERY_TILE, forward.out_gradient + at, stride, tile.rows, TILE_QUERIES, ATTENTION_THREADS);
    copy_commit();
    for (int row = threadIdx.x; row < TILE_QUERIES; row += ATTENTION_THREADS) {
        const size_t place = (size_t)(tile.first + row) * heads.query + tile.head;
        numbers[row] = row < tile.rows ? forward.log_sums[place] : 0.0f;
        numbers[TILE_QUERIES + row] = row < tile.rows ? forward.delta[place] : 0.0f;
    }
}

// key_gradient and value_gradient [N, K, D] f32: ∂k_s = Σ ∂(q·k)_s·q, ∂v_s = Σ p_s·∂out. A warp has 16 keys.
// Grid: (blocks, K).
KERNEL(ATTENTION_THREADS, 1)
attention_backward_keys(float *key_gradient, float *value_gradient, Forward forward, const KeyBlock *blocks, Heads heads,
                        float scale) {
    bf16 *key_tile = reinterpret_cast<bf16 *>(shared_bytes), *value_tile = key_tile + TILE_KEYS * STRIDE;
    bf16 *stages = value_tile + TILE_KEYS * STRIDE; // two times queries and gradients of the output
    float *numbers = reinterpret_cast<float *>(stages + 4 * QUERY_TILE); // two times log sums and deltas
    const KeyBlock block = blocks[blockIdx.x];
    const int head = blockIdx.y, ratio = heads.query / heads.key_value;
    const size_t stride = (size_t)heads.key_value * HEAD_WIDTH, start = block.first * stride + head * HEAD_WIDTH;
    copy_rows(key_tile, forward.keys + start, stride, block.rows, TILE_KEYS, ATTENTION_THREADS);
    copy_rows(value_tile, forward.values + start, stride, block.rows, TILE_KEYS, ATTENTION_THREADS);
    const int own = (block.own_end - block.first + TILE_QUERIES - 1) / TILE_QUERIES;
    const int tiles = (own + (block.tree_end - block.own_end + TILE_QUERIES - 1) / TILE_QUERIES) * ratio;
    copy_queries(stages, numbers, query_tile(block, 0, head, ratio), forward, heads);
    float keys[WIDTH_COLUMNS][4] = {}, values[WIDTH_COLUMNS][4] = {};
    const int first = warp_index() * 16;
    for (int index = 0; index < tiles; index++) {
        const bf16 *stage = stages + index % 2 * 2 * QUERY_TILE;
        const float *log_sums = numbers + index % 2 * 2 * TILE_QUERIES, *delta = log_sums + TILE_QUERIES;
        copy_ahead(index + 1 < tiles, [&] {
            const int next = (index + 1) % 2 * 2;
            copy_queries(stages + next * QUERY_TILE, numbers + next * TILE_QUERIES,
                         query_tile(block, index + 1, head, ratio), forward, heads);
        });
        const QueryTile tile = query_tile(block, index, head, ratio);
        // Rows are keys, columns queries: the products of both gradients read them as they are.
        float weight[QUERY_COLUMNS][4] = {}, gradient[QUERY_COLUMNS][4] = {};
        add_products(weight, key_tile + first * STRIDE, stage);
        add_products(gradient, value_tile + first * STRIDE, stage + QUERY_TILE);
#pragma unroll
        for (int column = 0; column < QUERY_COLUMNS; column++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int query = column_of(column, i);
                const bool sees = query < tile.rows && tile.first + query >= block.first + first + row_of(i);
                const float p = sees ? exponential(weight[column][i] * scale - log_sums[query]) : 0.0f;
                weight[column][i] = p;
                gradient[column][i] = score_gradient(p, gradient[column][i], delta[query], scale);
            }
        }
        add_weighted(values, weight, stage + QUERY_TILE);
        add_weighted(keys, gradient, stage);
        __syncthreads();
    }
    for (int column = 0; column < WIDTH_COLUMNS; column++) {
        for (int i = 0; i < 4; i++) {
            const int row = first + row_of(i), place = column_of(column, i);
            if (row >= block.rows || place >= HEAD_WIDTH) continue;
            const size_t at = ((size_t)(block.first + row) * heads.key_value + head) * HEAD_WIDTH + place;
            key_gradient[at] = keys[column][i];
            value_gradient[at] = values[column][i];
        }
    }
}
