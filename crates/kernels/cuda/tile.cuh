// Tiles of bf16 rows in shared memory, and products of 16 rows of one with another, for one warp.
//
// A tile has rows of D numbers, D = HEAD_WIDTH filled up with zeros to a multiple of 16, and 16 bytes between one row's end
// and the next row's start, so that eight rows at the same column lie in different banks. D is a multiple of 8.
#pragma once
#include "base.cuh"

constexpr int PADDED = (HEAD_WIDTH + 15) / 16 * 16;
constexpr int STRIDE = PADDED + 8;
// Steps of 16 of a product over D, and columns of 8.
constexpr int WIDTH_STEPS = PADDED / 16;
constexpr int WIDTH_COLUMNS = PADDED / 8;

// Begins to copy rows [0, count) of `rows`, `stride` numbers apart, to a tile of `height` rows; the rest becomes 0. All
// `threads` threads take part.
DEVICE void copy_rows(bf16 *tile, const bf16 *rows, size_t stride, int count, int height, int threads) {
    constexpr int CHUNKS = PADDED / 8;
    for (int index = threadIdx.x; index < height * CHUNKS; index += threads) {
        const int row = index / CHUNKS, column = index % CHUNKS * 8;
        const bool is_there = row < count && column < HEAD_WIDTH;
        copy_begin(tile + row * STRIDE + column, is_there ? rows + row * stride + column : rows, is_there);
    }
}

// Column `step` of 16 of 16 rows as the left side of a product.
DEVICE void left_words(u32 (&words)[4], const bf16 *rows, int step) {
    const int lane = lane_index();
    load_matrices(words, rows + lane % 16 * STRIDE + step * 16 + lane / 16 * 8);
}

// sum [16, 8·columns] += left · rowsᵀ over D: `left` 16 rows and `rows` 8·columns rows of tiles.
template <int columns> DEVICE void add_products(float (&sum)[columns][4], const bf16 *left, const bf16 *rows) {
    const int lane = lane_index();
#pragma unroll
    for (int step = 0; step < WIDTH_STEPS; step++) {
        u32 words[4];
        left_words(words, left, step);
#pragma unroll
        for (int pair = 0; pair < columns / 2; pair++) {
            u32 right[4];
            load_matrices(right, rows + (pair * 16 + lane / 16 * 8 + lane % 8) * STRIDE + step * 16 + lane / 8 % 2 * 8);
            multiply_add(sum[2 * pair], words, right[0], right[1]);
            multiply_add(sum[2 * pair + 1], words, right[2], right[3]);
        }
    }
}

// sum [16, D] += weights · rows: `weights` [16, 8·columns] as a product left them, rounded to bf16; `rows` 8·columns rows of
// a tile.
template <int columns>
DEVICE void add_weighted(float (&sum)[WIDTH_COLUMNS][4], const float (&weights)[columns][4], const bf16 *rows) {
    const int lane = lane_index();
#pragma unroll
    for (int step = 0; step < columns / 2; step++) {
        const float(&low)[4] = weights[2 * step], (&high)[4] = weights[2 * step + 1];
        const u32 words[4] = {rounded_pair(low[0], low[1]), rounded_pair(low[2], low[3]), rounded_pair(high[0], high[1]),
                              rounded_pair(high[2], high[3])};
#pragma unroll
        for (int pair = 0; pair < WIDTH_COLUMNS / 2; pair++) {
            u32 right[4];
            load_matrices_transposed(
                right, rows + (step * 16 + lane / 8 % 2 * 8 + lane % 8) * STRIDE + pair * 16 + lane / 16 * 8);
            multiply_add(sum[2 * pair], words, right[0], right[1]);
            multiply_add(sum[2 * pair + 1], words, right[2], right[3]);
        }
    }
}

// Row within 16 and column within 8·columns of number `i` of column block `block` of a product's sums.
DEVICE int row_of(int i) { return lane_index() / 4 + i / 2 * 8; }
DEVICE int column_of(int block, int i) { return block * 8 + lane_index() % 4 * 2 + i % 2; }

// Query heads and key-value heads: H and K of [N, H, D] and [N, K, D].
struct Heads {
    int query, key_value;
};

// ∂(q·k) = scale·p·(∂p − Σ p·∂p), with p a softmax weight, ∂p its gradient and `delta` that sum over the row.
DEVICE float score_gradient(float weight, float weight_gradient, float delta, float scale) {
    return scale * weight * (weight_gradient - delta);
}
