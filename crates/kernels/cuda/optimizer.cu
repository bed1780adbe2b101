// AdamW with decoupled weight decay (arXiv 1711.05101, algorithm 2, in PyTorch's arrangement), and the global norm.
#include "base.cuh"

// Settings of one update of one tensor, as in ../src/adamw.rs; the host computes in f64 and rounds once
// correction1 = 1 − β1ⁿ and correction2 = √(1 − β2ⁿ).
struct AdamwStep {
    float learning_rate, beta1, beta2, epsilon, weight_decay, gradient_scale, correction1, correction2;
};

// One number; f32, in the order of ../src/adamw.rs and with its bits.
DEVICE void update(float &value, float gradient, float &m, float &v, const AdamwStep &step) {
    const float g = gradient * step.gradient_scale;
    const float step_size = step.learning_rate / step.correction1;
    const float keep = 1.0f - step.learning_rate * step.weight_decay;
    m = fmaf(step.beta1, m, (1.0f - step.beta1) * g);
    v = fmaf(step.beta2, v, (1.0f - step.beta2) * g * g);
    value = fmaf(value, keep, -(step_size * m / (sqrtf(v) / step.correction2 + step.epsilon)));
}

// Updates the f32 masters and their moments, all [N], and writes the masters rounded to bf16 for products. One thread four
// neighbours; what is beyond the last four, one by one.
KERNEL(THREADS)
adamw(float *values, bf16 *rounded_values, const float *gradient, float *first_moment, float *second_moment, u64 count,
      AdamwStep step) {
    const u64 at = ((u64)blockIdx.x * THREADS + threadIdx.x) * 4;
    if (at + 4 <= count) {
        float4 value = load4(values + at), m = load4(first_moment + at), v = load4(second_moment + at);
        const float4 g = load4(gradient + at);
        update(value.x, g.x, m.x, v.x, step);
        update(value.y, g.y, m.y, v.y, step);
        update(value.z, g.z, m.z, v.z, step);
        update(value.w, g.w, m.w, v.w, step);
        store4(values + at, value);
        store4(first_moment + at, m);
        store4(second_moment + at, v);
        store4_rounded(rounded_values + at, value);
        return;
    }
    for (u64 one = at; one < count; one++) {
        update(values[one], gradient[one], first_moment[one], second_moment[one], step);
        rounded_values[one] = rounded(values[one]);
    }
}

// Σ over the threads of a block, in f64: in a tree within each warp, then warp by warp. Thread 0 gets it.
DEVICE double block_sum(double value) {
    double *sums = reinterpret_cast<double *>(shared_bytes); // [THREADS / 32]
    value = warp_sum(value);
    if (lane_index() == 0) sums[warp_index()] = value;
    __syncthreads();
    double all = 0.0;
    if (threadIdx.x == 0) {
        for (int warp = 0; warp < THREADS / 32; warp++) all += sums[warp];
    }
    return all;
}

// sums[block] = Σ x² of SQUARES numbers, f64; one block each. values [N].
KERNEL(THREADS) square_blocks(double *sums, const float *values, u64 count) {
    double sum = 0.0;
    for (int i = threadIdx.x; i < SQUARES; i += THREADS) {
        const u64 at = (u64)blockIdx.x * SQUARES + i;
        const double x = at < count ? (double)values[at] : 0.0;
        sum += x * x;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// norm = √(Σ sums), f64, of the blocks of all tensors one after another. One block.
KERNEL(THREADS) global_norm(double *norm, const double *sums, int blocks) {
    double sum = 0.0;
    for (int at = threadIdx.x; at < blocks; at += THREADS) sum += sums[at];
    sum = block_sum(sum);
    if (threadIdx.x == 0) *norm = sqrt(sum);
}
