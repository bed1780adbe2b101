// The gated SiLU of the MLP. All arrays [N], N a multiple of 4; one thread four neighbours.
#include "base.cuh"

DEVICE float gated(float gate, float up) { return gate * sigmoid(gate) * up; }

// out = silu(gate)·up with silu(x) = x·σ(x), rounded to bf16, since a product reads it.
KERNEL(THREADS) gate_forward(bf16 *out, const float *gate, const float *up, u64 count) {
    const u64 at = ((u64)blockIdx.x * THREADS + threadIdx.x) * 4;
    if (at >= count) return;
    const float4 g = load4(gate + at), u = load4(up + at);
    store4_rounded(out + at, {gated(g.x, u.x), gated(g.y, u.y), gated(g.z, u.z), gated(g.w, u.w)});
}

// One number of the gradients: with s = σ(gate), ∂out/∂gate = up·(s + gate·s·(1 − s)) and ∂out/∂up = gate·s.
DEVICE void gradients(float &gate, float &up, float out_gradient) {
    const float s = sigmoid(gate), silu = gate * s, u = up;
    up = out_gradient * silu;
    gate = out_gradient * u * fmaf(silu, 1.0f - s, s);
}

// gate_gradient and up_gradient, in bf16, from the gradient of the output and what the forward read.
KERNEL(THREADS)
gate_backward(bf16 *gate_gradient, bf16 *up_gradient, const float *gate, const float *up, const float *out_gradient,
              u64 count) {
    const u64 at = ((u64)blockIdx.x * THREADS + threadIdx.x) * 4;
    if (at >= count) return;
    float4 g = load4(gate + at), u = load4(up + at);
    const float4 d = load4(out_gradient + at);
    gradients(g.x, u.x, d.x);
    gradients(g.y, u.y, d.y);
    gradients(g.z, u.z, d.z);
    gradients(g.w, u.w, d.w);
    store4_rounded(gate_gradient + at, g);
    store4_rounded(up_gradient + at, u);
}
