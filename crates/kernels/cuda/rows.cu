// Sums over rows, biases, and rounding. One thread a column, or four neighbours.
#include "base.cuh"

// partial [chunks, C]: of each chunk of CHUNK_ROWS rows the sum, first row first. rows [N, C].
KERNEL(THREADS) row_chunks(float *partial, const float *rows, int count, int width) {
    const int column = blockIdx.x * THREADS + threadIdx.x;
    if (column >= width) return;
    const int first = blockIdx.y * CHUNK_ROWS;
    const int end = first + CHUNK_ROWS < count ? first + CHUNK_ROWS : count;
    float sum = 0.0f;
    for (int row = first; row < end; row++) sum += rows[(size_t)row * width + column];
    partial[(size_t)blockIdx.y * width + column] = sum;
}

// sum [C] += every row of partial [chunks, C], first chunk first: gradients of biases and of norm weights.
KERNEL(THREADS) add_chunks(float *sum, const float *partial, int chunks, int width) {
    const int column = blockIdx.x * THREADS + threadIdx.x;
    if (column >= width) return;
    float total = 0.0f;
    for (int chunk = 0; chunk < chunks; chunk++) total += partial[(size_t)chunk * width + column];
    sum[column] += total;
}

// rows [N, C] += bias [C]. `values` is N·C; C is a multiple of 4.
KERNEL(THREADS) add_bias(float *rows, const float *bias, u64 values, int width) {
    const u64 at = ((u64)blockIdx.x * THREADS + threadIdx.x) * 4;
    if (at >= values) return;
    const float4 x = load4(rows + at), b = load4(bias + at % width);
    store4(rows + at, {x.x + b.x, x.y + b.y, x.z + b.z, x.w + b.w});
}

// out ← scale · values in bf16, which products and the attention read. `count` is a multiple of 4.
KERNEL(THREADS) round_values(bf16 *out, const float *values, u64 count, float scale) {
    const u64 at = ((u64)blockIdx.x * THREADS + threadIdx.x) * 4;
    if (at >= count) return;
    const float4 x = load4(values + at);
    store4_rounded(out + at, {scale * x.x, scale * x.y, scale * x.z, scale * x.w});
}
