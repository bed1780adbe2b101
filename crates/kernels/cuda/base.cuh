// What the kernels share: types, the exponential, sums over a warp, loads of 16 bytes.
//
// Dimension letters: N rows, C model width, T positions, V vocabulary, H query heads, K key-value heads, D head width.
// Names in capitals that no file here defines are constants of ../src/cuda/launch.rs, which also says with how many
// threads and blocks a kernel is started. Sums are f32 in one order that depends on the position of the output alone,
// except where a comment says f64; there are no atomic additions of floats. Products are contracted only where `fmaf`
// stands (--fmad=false).
#pragma once
#include <instructions.cuh>

typedef unsigned long long u64;
// The high half of an f32.
typedef unsigned short bf16;

#define KERNEL extern "C" __global__ void __launch_bounds__
#define DEVICE static __device__ __forceinline__

// Shared memory of the block, as many bytes as launch.rs says.
extern __shared__ __align__(16) unsigned char shared_bytes[];

constexpr u32 ALL_LANES = 0xffffffff;

DEVICE float infinity() { return __uint_as_float(0x7f800000u); }

DEVICE int lane_index() { return threadIdx.x % 32; }
DEVICE int warp_index() { return threadIdx.x / 32; }

DEVICE float value_of(bf16 bits) { return __uint_as_float((u32)bits << 16); }
DEVICE bf16 rounded(float value) { return (bf16)rounded_pair(value, 0.0f); }

// Σ over the lanes of a warp, in a tree; all lanes get it.
template <class T> DEVICE T warp_sum(T value) {
    for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(ALL_LANES, value, distance);
    return value;
}

template <class T> DEVICE T warp_max(T value) {
    for (int distance = 16; distance > 0; distance /= 2) {
        const T other = __shfl_xor_sync(ALL_LANES, value, distance);
        value = other > value ? other : value;
    }
    return value;
}

// eˣ by Cephes' method, as in ../src/activation.rs and with the same bits: relative error below 1e-7 on [−87, 88], clamped
// outside.
DEVICE float exponential(float x) {
    const float ROUND = 12582912.0f;
    x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    const float shifted = fmaf(x, 1.44269502f, ROUND);
    const float n = shifted - ROUND;
    const float r = fmaf(n, 2.12194440e-4f, fmaf(n, -0.693359375f, x));
    float p = 1.98756910e-4f;
    p = fmaf(p, r, 1.39819990e-3f);
    p = fmaf(p, r, 8.33345200e-3f);
    p = fmaf(p, r, 4.16657960e-2f);
    p = fmaf(p, r, 1.66666650e-1f);
    p = fmaf(p, r, 0.5f);
    const float e = fmaf(p, r * r, r) + 1.0f;
    return e * __uint_as_float((__float_as_uint(shifted) << 23) + (127u << 23));
}

DEVICE float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

DEVICE float4 load4(const float *from) { return *reinterpret_cast<const float4 *>(from); }
DEVICE void store4(float *to, float4 values) { *reinterpret_cast<float4 *>(to) = values; }

// Four floats as bf16, 8 bytes.
DEVICE void store4_rounded(bf16 *to, float4 values) {
    const uint2 pairs = {rounded_pair(values.x, values.y), rounded_pair(values.z, values.w)};
    *reinterpret_cast<uint2 *>(to) = pairs;
}

// Begins the next of two copies that take turns, where there is one, and waits for the copy before it, which all threads of
// the block then see.
template <typename Copy> DEVICE void copy_ahead(bool is_more, Copy copy) {
    if (is_more) {
        copy();
        copy_wait<1>();
    } else {
        copy_wait<0>();
    }
    __syncthreads();
}
