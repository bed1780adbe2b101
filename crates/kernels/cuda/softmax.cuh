// Softmax attention of 16 query rows, tile of keys by tile of keys (arXiv 1805.02867, arXiv 2205.14135), for one warp.
//
// Training and decoding take the same tiles of TILE_KEYS positions, counted from the beginning of the prompt and of the
// sequence's own part, through the same function. A tile of which a row sees nothing leaves the row as it was to the last
// bit. So a row's result depends neither on what is computed beside it nor on where its keys lie.
#pragma once
#include "tile.cuh"

constexpr int KEY_COLUMNS = TILE_KEYS / 8;

// 16 rows under way; of each a lane has the rows lane / 4 and that + 8.
struct Rows {
    float out[WIDTH_COLUMNS][4]; // Σ exp(score − largest)·v
    float largest[2];            // of the scores so far
    float sum[2];                // Σ exp(score − largest), of the columns that this lane has
};

DEVICE void begin(Rows &rows) {
    for (int block = 0; block < WIDTH_COLUMNS; block++) {
        for (int i = 0; i < 4; i++) rows.out[block][i] = 0.0f;
    }
    for (int half = 0; half < 2; half++) {
        rows.largest[half] = -infinity();
        rows.sum[half] = 0.0f;
    }
}

// Largest of a row's numbers: four neighbouring lanes have them.
DEVICE float row_max(float value) {
    value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, 1));
    return fmaxf(value, __shfl_xor_sync(ALL_LANES, value, 2));
}

DEVICE float row_sum(float value) {
    value += __shfl_xor_sync(ALL_LANES, value, 1);
    return value + __shfl_xor_sync(ALL_LANES, value, 2);
}

// Takes in a tile of keys and values, of which row lane / 4 sees the first seen[0] and row lane / 4 + 8 the first seen[1].
DEVICE void attend(Rows &rows, const bf16 *queries, const bf16 *keys, const bf16 *values, const int (&seen)[2], float scale) {
    float score[KEY_COLUMNS][4] = {};
    add_products(score, queries, keys);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float largest = -infinity();
#pragma unroll
        for (int block = 0; block < KEY_COLUMNS; block++) {
#pragma unroll
            for (int i = 2 * half; i < 2 * half + 2; i++) {
                score[block][i] = column_of(block, i) < seen[half] ? score[block][i] * scale : -infinity();
                largest = fmaxf(largest, score[block][i]);
            }
        }
        largest = fmaxf(rows.largest[half], row_max(largest));
        const float factor = largest == rows.largest[half] ? 1.0f : exponential(rows.largest[half] - largest);
        rows.largest[half] = largest;
        float sum = rows.sum[half] * factor;
#pragma unroll
        for (int block = 0; block < KEY_COLUMNS; block++) {
#pragma unroll
            for (int i = 2 * half; i < 2 * half + 2; i++) {
                score[block][i] = column_of(block, i) < seen[half] ? exponential(score[block][i] - largest) : 0.0f;
                sum += score[block][i];
            }
        }
        rows.sum[half] = sum;
#pragma unroll
        for (int block = 0; block < WIDTH_COLUMNS; block++) {
            rows.out[block][2 * half] *= factor;
            rows.out[block][2 * half + 1] *= factor;
        }
    }
    add_weighted(rows.out, score, values);
}

// Divides by the sums; afterwards rows.sum is ln Σ exp(score), nats.
DEVICE void finish(Rows &rows) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const float sum = row_sum(rows.sum[half]), inverse = 1.0f / sum;
#pragma unroll
        for (int block = 0; block < WIDTH_COLUMNS; block++) {
            rows.out[block][2 * half] *= inverse;
            rows.out[block][2 * half + 1] *= inverse;
        }
        rows.sum[half] = rows.largest[half] + logf(sum);
    }
}

// Writes a row's half of `rows` in bf16 to `out` [D].
DEVICE void write_row(bf16 *out, const Rows &rows, int half) {
#pragma unroll
    for (int block = 0; block < WIDTH_COLUMNS; block++) {
        const int column = column_of(block, 0);
        if (column < HEAD_WIDTH) {
            const u32 pair = rounded_pair(rows.out[block][2 * half], rows.out[block][2 * half + 1]);
            *reinterpret_cast<u32 *>(out + column) = pair;
        }
    }
}
