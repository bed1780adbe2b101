// Root-mean-square normalisation over rows of C values (arXiv 1910.07467). C is a multiple of 4; one warp a row.
#include "base.cuh"

// 1 / √(mean(x²) + epsilon): a lane takes four neighbours of every 128, then the lanes are added in a tree.
DEVICE float inverse_rms(const float *row, int width, float epsilon) {
    float sum = 0.0f;
    for (int at = lane_index() * 4; at < width; at += 128) {
        const float4 x = load4(row + at);
        sum = fmaf(x.w, x.w, fmaf(x.z, x.z, fmaf(x.y, x.y, fmaf(x.x, x.x, sum))));
    }
    return 1.0f / sqrtf(warp_sum(sum) / (float)width + epsilon);
}

// out = x / √(mean(x²) + epsilon) · weight, rounded to bf16, since a product reads it.
// Shapes: out and rows [N, C], weight [C].
KERNEL(THREADS)
rms_norm_forward(bf16 *out, const float *rows, const float *weight, float epsilon, int count, int width) {
    const int index = blockIdx.x * (THREADS / 32) + warp_index();
    if (index >= count) return;
    const float *row = rows + (size_t)index * width;
    const float r = inverse_rms(row, width, epsilon);
    for (int at = lane_index() * 4; at < width; at += 128) {
        const float4 x = load4(row + at), w = load4(weight + at);
        const float4 y = {x.x * r * w.x, x.y * r * w.y, x.z * r * w.z, x.w * r * w.w};
        store4_rounded(out + (size_t)index * width + at, y);
    }
}

// Writes, or adds to `out`, the gradient of the input: dx = r·(g·w) − x·r³/C·Σ(g·w·x); leaves r in `inverse`.
DEVICE void input_gradient(float *out, float *inverse, const float *gradient, const float *rows, const float *weight,
                           float epsilon, int count, int width, bool adds) {
    const int index = blockIdx.x * (THREADS / 32) + warp_index();
    if (index >= count) return;
    const float *row = rows + (size_t)index * width, *g = gradient + (size_t)index * width;
    const float r = inverse_rms(row, width, epsilon);
    float sum = 0.0f;
    for (int at = lane_index() * 4; at < width; at += 128) {
        const float4 x = load4(row + at), w = load4(weight + at), d = load4(g + at);
        sum = fmaf(d.w * w.w, x.w, fmaf(d.z * w.z, x.z, fmaf(d.y * w.y, x.y, fmaf(d.x * w.x, x.x, sum))));
    }
    const float projection = warp_sum(sum) * r * r * r / (float)width;
    for (int at = lane_index() * 4; at < width; at += 128) {
        const float4 x = load4(row + at), w = load4(weight + at), d = load4(g + at);
        float4 y = {fmaf(-projection, x.x, d.x * w.x * r), fmaf(-projection, x.y, d.y * w.y * r),
                    fmaf(-projection, x.z, d.z * w.z * r), fmaf(-projection, x.w, d.w * w.w * r)};
        float *to = out + (size_t)index * width + at;
        if (adds) {
            const float4 before = load4(to);
            y = {before.x + y.x, before.y + y.y, before.z + y.z, before.w + y.w};
        }
        store4(to, y);
    }
    if (lane_index() == 0) inverse[index] = r;
}

// out ← the gradient of the input. Shapes: out, gradient and rows [N, C], inverse [N], weight [C].
KERNEL(THREADS)
rms_norm_backward(float *out, float *inverse, const float *gradient, const float *rows, const float *weight, float epsilon,
                  int count, int width) {
    input_gradient(out, inverse, gradient, rows, weight, epsilon, count, width, false);
}

// out ← out + the gradient of the input.
KERNEL(THREADS)
rms_norm_backward_onto(float *out, float *inverse, const float *gradient, const float *rows, const float *weight,
                       float epsilon, int count, int width) {
    input_gradient(out, inverse, gradient, rows, weight, epsilon, count, width, true);
}

// partial [chunks, C]: of each chunk of CHUNK_ROWS rows Σ g·x·r, first row first: the weight's gradient before
// `add_chunks`. One thread a column.
KERNEL(THREADS)
rms_norm_weight_chunks(float *partial, const float *gradient, const float *rows, const float *inverse, int count,
                       int width) {
    const int column = blockIdx.x * THREADS + threadIdx.x;
    if (column >= width) return;
    const int first = blockIdx.y * CHUNK_ROWS;
    const int end = first + CHUNK_ROWS < count ? first + CHUNK_ROWS : count;
    float sum = 0.0f;
    for (int row = first; row < end; row++) {
        const size_t at = (size_t)row * width + column;
        sum = fmaf(gradient[at], rows[at] * inverse[row], sum);
    }
    partial[(size_t)blockIdx.y * width + column] = sum;
}
