// The instructions that C++ has no words for, on a card (PTX ISA 8.x, all of them there from sm_80 on).
// Their twin for checks without a card is emulation/instructions.cuh; nothing else in this folder is PTX.
#pragma once

typedef unsigned int u32;

// sum += left · right: [16, 8] += [16, 16] · [16, 8], bf16 factors, f32 sums (mma.sync.m16n8k16). A lane holds of sum the
// columns 2·(lane % 4) and the next, of the rows lane / 4 and that + 8.
__device__ __forceinline__ void multiply_add(float (&sum)[4], const u32 (&left)[4], u32 right_low, u32 right_high) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right_low), "r"(right_high));
}

// Four matrices [8, 8] of 16-bit numbers from shared memory: lane i points to row i % 8 of matrix i / 8, and gets of each
// matrix the numbers 2·(i % 4) and the next of row i / 4 (ldmatrix).
__device__ __forceinline__ void load_matrices(u32 (&words)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"((u32)__cvta_generic_to_shared(row))
                 : "memory");
}

// The same of the transposed matrices.
__device__ __forceinline__ void load_matrices_transposed(u32 (&words)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"((u32)__cvta_generic_to_shared(row))
                 : "memory");
}

// Two floats as bf16 (nearest, ties to even), `low` in the low half.
__device__ __forceinline__ u32 rounded_pair(float low, float high) {
    u32 pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

// Begins to copy 16 bytes to shared memory, or 16 bytes of 0 where nothing is there to be read.
__device__ __forceinline__ void copy_begin(void *shared, const void *global, bool is_there) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((u32)__cvta_generic_to_shared(shared)),
                 "l"(__cvta_generic_to_global(global)), "r"(is_there ? 16 : 0)
                 : "memory");
}

// Ends a group of copies.
__device__ __forceinline__ void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until this thread has at most `groups` groups of copies under way.
template <int groups> __device__ __forceinline__ void copy_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(groups) : "memory");
}
