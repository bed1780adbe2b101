// As much of a card as the kernels need, on a processor: a block's threads run one at a time on stacks of their own and
// change places where they wait for one another. What a card leaves undefined ends the program with a message: a barrier
// that not all threads reach, lanes of a warp in different instructions, a number that is not aligned, an access outside
// the buffers. Shared memory is all ones (not a number) before each block.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <setjmp.h>
#include <ucontext.h>
#include <utility>
#include <vector>

#define __device__
#define __global__
#define __shared__
#define __align__(bytes)
#define __forceinline__ inline
#define __launch_bounds__(...)

struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct Place3 { unsigned x, y, z; };

namespace emulation {

enum class Kind : int { none, shuffle, multiply, load, load_transposed, warp_barrier };

struct Copy {
    void *shared;
    const void *global;
    bool is_there;
    int group;
};

struct Barrier {
    int expected, arrived;
    unsigned generation;
};

struct Thread {
    ucontext_t start;
    jmp_buf place;
    bool is_started, is_done;
    int index;
    unsigned exchanges;
    std::vector<Copy> copies;
    int groups;
};

// Words that the lanes of a warp show one another; two sets in turn, so that a fast lane does not write over what a slow one
// has still to read.
struct Warp {
    Barrier barrier;
    unsigned words[2][32][8];
    Kind kinds[2][32];
};

Thread &current();
Warp &warp();
[[noreturn]] void fail(const char *what);
void wait_at(Barrier &barrier);
void block_barrier();

inline int lane() { return current().index % 32; }

inline void aligned(const void *pointer, size_t bytes) {
    if ((size_t)pointer % bytes != 0) fail("an address is not aligned");
}

// Shows own words to the warp and waits for all lanes.
inline void exchange(Kind kind, std::initializer_list<unsigned> words) {
    const unsigned turn = current().exchanges++ % 2;
    int at = 0;
    for (const unsigned word : words) warp().words[turn][lane()][at++] = word;
    warp().kinds[turn][lane()] = kind;
    if (warp().barrier.expected != 32) fail("a lane has left its warp before an instruction of all lanes");
    wait_at(warp().barrier);
    // Every lane looks at its neighbour, so that together they look at all.
    if (warp().kinds[turn][(lane() + 1) % 32] != kind) fail("lanes of one warp are in different instructions");
}

// What the lanes showed at the last exchange, [lane][word].
typedef unsigned Shown[32][8];
inline const Shown &shown() { return warp().words[(current().exchanges - 1) % 2]; }

template <class T> T shuffled(T value, int from) {
    unsigned words[2] = {0, 0};
    static_assert(sizeof(T) <= 8);
    std::memcpy(words, &value, sizeof(T));
    exchange(Kind::shuffle, {words[0], words[1]});
    words[0] = shown()[from][0], words[1] = shown()[from][1];
    std::memcpy(&value, words, sizeof(T));
    return value;
}

// Calls a kernel with the arguments that `arguments` point to.
template <class... P, size_t... I> void call(void (*kernel)(P...), void **arguments, std::index_sequence<I...>) {
    kernel(*reinterpret_cast<P *>(arguments[I])...);
}
template <class... P> void call(void (*kernel)(P...), void **arguments) {
    call(kernel, arguments, std::index_sequence_for<P...>{});
}

} // namespace emulation

#define ENTRY(kernel) \
    extern "C" void emulate_##kernel(void **arguments) { emulation::call(kernel, arguments); }

extern Place3 threadIdx;
extern Place3 blockIdx, gridDim;

inline void __syncthreads() { emulation::block_barrier(); }
inline void __syncwarp() { emulation::exchange(emulation::Kind::warp_barrier, {}); }
template <class T> T __shfl_xor_sync(unsigned, T value, int distance) {
    return emulation::shuffled(value, emulation::lane() ^ distance);
}
template <class T> T atomicAdd(T *sum, T value) {
    const T before = *sum;
    *sum += value;
    return before;
}

inline float __uint_as_float(unsigned bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}
inline unsigned __float_as_uint(float value) {
    unsigned bits;
    std::memcpy(&bits, &value, 4);
    return bits;
}
