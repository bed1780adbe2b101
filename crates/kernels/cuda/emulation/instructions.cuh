// The twin of ../instructions.cuh: the same functions by the lane layouts of the PTX ISA, for checks without a card.
#pragma once
#include "card.h"

typedef unsigned int u32;

// Number `half` of a word of two bf16, the low half first.
inline float half_of(u32 word, int half) {
    const u32 bits = word >> (16 * half) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

// PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type". The 16 products of a sum are added in f64 and rounded
// once with what is there: a card's order is not specified.
inline void multiply_add(float (&sum)[4], const u32 (&left)[4], u32 right_low, u32 right_high) {
    emulation::exchange(emulation::Kind::multiply, {left[0], left[1], left[2], left[3], right_low, right_high});
    const int lane = emulation::lane();
    const emulation::Shown &words = emulation::shown();
    // The two rows and the two columns that this lane has numbers of.
    double rows[2][16], columns[2][16];
    for (int one = 0; one < 2; one++) {
        for (int k = 0; k < 16; k++) {
            const int at = k % 8 / 2;
            rows[one][k] = half_of(words[lane / 4 * 4 + at][one + 2 * (k / 8)], k % 2);
            columns[one][k] = half_of(words[(lane % 4 * 2 + one) * 4 + at][4 + k / 8], k % 2);
        }
    }
    for (int i = 0; i < 4; i++) {
        double total = 0.0;
        for (int k = 0; k < 16; k++) total += rows[i / 2][k] * columns[i % 2][k];
        sum[i] = (float)((double)sum[i] + total);
    }
}

// PTX ISA, "ldmatrix": lane i gives the address of row i % 8 of matrix i / 8.
inline void load(u32 (&words)[4], const void *row, bool transposed) {
    emulation::aligned(row, 16);
    const unsigned long long address = (unsigned long long)row;
    emulation::exchange(transposed ? emulation::Kind::load_transposed : emulation::Kind::load,
                        {(u32)address, (u32)(address >> 32)});
    const int lane = emulation::lane();
    const emulation::Shown &addresses = emulation::shown();
    const auto number = [&](int matrix, int row, int column) {
        const unsigned(&address)[8] = addresses[matrix * 8 + row];
        const unsigned long long start = address[0] | (unsigned long long)address[1] << 32;
        return (u32) reinterpret_cast<const unsigned short *>(start)[column];
    };
    for (int matrix = 0; matrix < 4; matrix++) {
        const int row = lane / 4, column = lane % 4 * 2;
        words[matrix] = transposed ? number(matrix, column, row) | number(matrix, column + 1, row) << 16
                                   : number(matrix, row, column) | number(matrix, row, column + 1) << 16;
    }
}

inline void load_matrices(u32 (&words)[4], const void *row) { load(words, row, false); }
inline void load_matrices_transposed(u32 (&words)[4], const void *row) { load(words, row, true); }

// Nearest, ties to even; what is not a number becomes 0x7fff, as on a card.
inline u32 rounded_half(float value) {
    u32 bits;
    std::memcpy(&bits, &value, 4);
    return (bits & 0x7fffffff) > 0x7f800000 ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

inline u32 rounded_pair(float low, float high) { return rounded_half(low) | rounded_half(high) << 16; }

// A copy arrives when its group is waited for, and not before.
inline void copy_begin(void *shared, const void *global, bool is_there) {
    emulation::aligned(shared, 16);
    emulation::aligned(global, is_there ? 16 : 2);
    emulation::current().copies.push_back({shared, global, is_there, emulation::current().groups});
}

inline void copy_commit() { emulation::current().groups++; }

template <int groups> void copy_wait() {
    auto &thread = emulation::current();
    std::erase_if(thread.copies, [&](const emulation::Copy &copy) {
        if (copy.group + groups >= thread.groups) return false;
        if (copy.is_there) std::memcpy(copy.shared, copy.global, 16);
        else std::memset(copy.shared, 0, 16);
        return true;
    });
}
