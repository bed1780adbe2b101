// Rows of the embedding by token, and their gradient. C is a multiple of 4.
#include "base.cuh"

// out [N, C] = table[tokens], table [V, C] f32 masters, tokens [N]. One warp a row.
KERNEL(THREADS) embedding_forward(float *out, const float *table, const u32 *tokens, int rows, int width) {
    const int row = blockIdx.x * (THREADS / 32) + warp_index();
    if (row >= rows) return;
    const float *from = table + (size_t)tokens[row] * width;
    for (int at = lane_index() * 4; at < width; at += 128) store4(out + (size_t)row * width + at, load4(from + at));
}

// table_gradient[token] += every gradient row of that token, first row first. `order` [N] holds the rows sorted by token and
// then by row; `starts` [tokens that occur + 1] where each token begins in it. One warp a token that occurs.
KERNEL(THREADS)
embedding_backward(float *table_gradient, const float *gradient, const u32 *tokens, const u32 *order, const u32 *starts,
                   int occurring, int width) {
    const int index = blockIdx.x * (THREADS / 32) + warp_index();
    if (index >= occurring) return;
    const u32 first = starts[index], end = starts[index + 1];
    float *sums = table_gradient + (size_t)tokens[order[first]] * width;
    for (int at = lane_index() * 4; at < width; at += 128) {
        float4 sum = load4(sums + at);
        for (u32 place = first; place < end; place++) {
            const float4 row = load4(gradient + (size_t)order[place] * width + at);
            sum.x += row.x;
            sum.y += row.y;
            sum.z += row.z;
            sum.w += row.w;
        }
        store4(sums + at, sum);
    }
}
