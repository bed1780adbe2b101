// The card of card.h: starts the threads of each block and lets them take turns.
#include "card.h"
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>
#include <unistd.h>

constexpr size_t SHARED_BYTES = 256 << 10, STACK_BYTES = 128 << 10;
constexpr int THREADS_MAX = 1024;

Place3 threadIdx;
Place3 blockIdx, gridDim;
alignas(256) unsigned char shared_bytes[SHARED_BYTES];

namespace emulation {

static Thread threads[THREADS_MAX];
static Warp warps[THREADS_MAX / 32];
static Barrier block;
static Thread *running;
static jmp_buf scheduler;
static const char *kernel_name;
static void (*kernel)(void **);
static void **kernel_arguments;
static bool has_moved;

Thread &current() { return *running; }
Warp &warp() { return warps[running->index / 32]; }

void fail(const char *what) {
    std::fprintf(stderr, "%s, block (%u, %u), thread %d: %s\n", kernel_name, blockIdx.x, blockIdx.y,
                 running ? running->index : -1, what);
    std::_Exit(1);
}

static void pass() {
    if (_setjmp(running->place) == 0) _longjmp(scheduler, 1);
}

static void release(Barrier &barrier) {
    barrier.arrived = 0;
    barrier.generation++;
    has_moved = true;
}

void wait_at(Barrier &barrier) {
    const unsigned generation = barrier.generation;
    if (++barrier.arrived == barrier.expected) release(barrier);
    else while (barrier.generation == generation) pass();
}

void block_barrier() { wait_at(block); }

static void leave(Barrier &barrier) {
    if (--barrier.expected > 0 && barrier.arrived == barrier.expected) release(barrier);
}

static void begin() {
    kernel(kernel_arguments);
    if (!running->copies.empty()) fail("copies were begun that nobody waited for");
    running->is_done = true;
    leave(warp().barrier);
    leave(block);
    has_moved = true;
    _longjmp(scheduler, 1);
}

// Not inlined: a jump back keeps the variables of its caller.
static void __attribute__((noinline)) run(Thread &thread) {
    running = &thread;
    threadIdx = {(unsigned)thread.index, 0, 0};
    if (_setjmp(scheduler) != 0) return;
    if (thread.is_started) _longjmp(thread.place, 1);
    thread.is_started = true;
    setcontext(&thread.start);
}

// A stack above a page that can't be accessed, so that one that overflows is an access outside the buffers.
static void *new_stack() {
    const size_t page = sysconf(_SC_PAGESIZE);
    char *mapping = static_cast<char *>(
        mmap(nullptr, page + STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (mapping == MAP_FAILED || mprotect(mapping, page, PROT_NONE) != 0) fail("no memory for a thread's stack");
    return mapping + page;
}

// Puts a thread at the beginning of the kernel. Not inlined, since getcontext may return twice.
static void __attribute__((noinline)) set_up(Thread &thread, int index) {
    void *stack = thread.start.uc_stack.ss_sp ? thread.start.uc_stack.ss_sp : new_stack();
    getcontext(&thread.start);
    thread.start.uc_stack.ss_sp = stack;
    thread.start.uc_stack.ss_size = STACK_BYTES;
    makecontext(&thread.start, begin, 0);
    thread.is_started = thread.is_done = false;
    thread.index = index;
    thread.exchanges = 0;
    thread.groups = 0;
}

// Runs a block, whose threads take turns in the order of `schedule`: rising, falling, or jumping by 37.
static void run_block(int count, size_t shared, int schedule) {
    std::memset(shared_bytes, 0xff, SHARED_BYTES);
    block = {count, 0, 0};
    for (int index = 0; index < count; index++) {
        set_up(threads[index], index);
        if (index % 32 == 0) warps[index / 32].barrier = {count - index < 32 ? count - index : 32, 0, 0};
    }
    for (bool is_left = true; is_left;) {
        is_left = has_moved = false;
        for (int turn = 0; turn < count; turn++) {
            const int index = schedule == 0 ? turn : schedule == 1 ? count - 1 - turn : turn * 37 % count;
            if (threads[index].is_done) continue;
            is_left = true;
            run(threads[index]);
        }
        if (is_left && !has_moved) fail("threads wait for one another");
    }
    for (size_t at = shared; at < SHARED_BYTES; at++) {
        if (shared_bytes[at] != 0xff) fail("shared memory was written beyond what the launch asks for");
    }
}

static void fault(int number) {
    fail(number == SIGSEGV || number == SIGBUS ? "an access outside the buffers"
                                               : "an index, a shift, a cast or an alignment that C++ leaves undefined");
}

} // namespace emulation

// Runs a kernel on every block of a grid, in order.
extern "C" void emulate(const char *name, void (*kernel)(void **), void **arguments, unsigned columns, unsigned rows,
                        int threads, size_t shared, int schedule) {
    using namespace emulation;
    static char signal_stack[64 << 10];
    const stack_t stack = {signal_stack, 0, sizeof signal_stack};
    sigaltstack(&stack, nullptr);
    for (const int number : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP}) {
        struct sigaction action = {};
        action.sa_handler = fault;
        action.sa_flags = SA_ONSTACK;
        sigaction(number, &action, nullptr);
    }
    kernel_name = name;
    emulation::kernel = kernel;
    kernel_arguments = arguments;
    gridDim = {columns, rows, 1};
    if (shared > SHARED_BYTES || threads > THREADS_MAX) fail("more shared memory or threads than a block may have");
    for (unsigned row = 0; row < rows; row++) {
        for (unsigned column = 0; column < columns; column++) {
            blockIdx = {column, row, 0};
            run_block(threads, shared, schedule);
        }
    }
}
