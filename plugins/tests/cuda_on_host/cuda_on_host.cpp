#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "cuda_runtime.h"

namespace cuda_on_host {

dim3 thread, block, block_size, grid_size;

namespace {

constexpr unsigned WARP = 32;
constexpr size_t STACK_BYTES = 64 * 1024;

enum class State { CAN_RUN, WAITS_FOR_BLOCK, WAITS_FOR_WARP, ENDED };

struct Fiber {
    ucontext_t start;
    jmp_buf place;
    bool started;
    State state;
};

struct Warp {
    uint64_t given[WARP], read[WARP];
};

std::vector<Fiber> fibers;
std::vector<Warp> warps;
std::vector<unsigned> can_run;
jmp_buf scheduler;
unsigned running;
const std::function<void()>* work;

[[noreturn]] void fail(const char* what) {
    std::fprintf(stderr, "cuda_on_host: %s (block %u, %u, %u of %u threads)\n", what, block.x, block.y, block.z,
                 block_size.x);
    std::abort();
}

std::mt19937& dice() {
    static std::mt19937 made([] {
        const char* seed = std::getenv("EDGEDET_CUDA_ON_HOST_SEED");
        return seed == nullptr ? 0U : static_cast<unsigned>(std::strtoul(seed, nullptr, 10));
    }());
    return made;
}

char* stack_of(unsigned index) {
    static std::vector<char*> stacks;
    while (stacks.size() <= index) {
        void* made = mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (made == MAP_FAILED) fail("no memory for stacks");
        stacks.push_back(static_cast<char*>(made));
    }
    return stacks[index];
}

// Where fibers start. None returns: the scheduler is jumped to.
void run_fiber() {
    (*work)();
    fibers[running].state = State::ENDED;
    _longjmp(scheduler, 1);
}

void make_fiber(unsigned index) {
    Fiber& fiber = fibers[index];
    fiber.started = false;
    fiber.state = State::CAN_RUN;
    getcontext(&fiber.start);
    fiber.start.uc_stack.ss_sp = stack_of(index);
    fiber.start.uc_stack.ss_size = STACK_BYTES;
    fiber.start.uc_link = nullptr;
    makecontext(&fiber.start, run_fiber, 0);
}

void resume(unsigned index) {
    running = index;
    thread = dim3(index);
    if (_setjmp(scheduler) != 0) return;
    Fiber& fiber = fibers[index];
    if (fiber.started) _longjmp(fiber.place, 1);
    fiber.started = true;
    setcontext(&fiber.start);
    fail("a fiber did not start");
}

void pause(State state) {
    Fiber& fiber = fibers[running];
    fiber.state = state;
    if (_setjmp(fiber.place) == 0) _longjmp(scheduler, 1);
}

void release(unsigned first, unsigned end, State waiting) {
    for (unsigned index = first; index < end; ++index) {
        if (fibers[index].state != waiting) continue;
        fibers[index].state = State::CAN_RUN;
        can_run.push_back(index);
    }
}

// All of the fibers that have not ended, and at least one, wait so.
bool all_wait(unsigned first, unsigned end, State waiting) {
    bool some = false;
    for (unsigned index = first; index < end; ++index) {
        if (fibers[index].state == State::ENDED) continue;
        if (fibers[index].state != waiting) return false;
        some = true;
    }
    return some;
}

void run_block(unsigned count) {
    can_run.clear();
    for (unsigned index = 0; index < count; ++index) {
        make_fiber(index);
        can_run.push_back(index);
    }
    for (;;) {
        while (!can_run.empty()) {
            std::swap(can_run[dice()() % can_run.size()], can_run.back());
            const unsigned index = can_run.back();
            can_run.pop_back();
            resume(index);
            const unsigned warp = index / WARP, first = warp * WARP, end = first + WARP < count ? first + WARP : count;
            if (!all_wait(first, end, State::WAITS_FOR_WARP)) continue;
            for (unsigned lane = 0; lane < WARP; ++lane) warps[warp].read[lane] = warps[warp].given[lane];
            release(first, end, State::WAITS_FOR_WARP);
        }
        if (all_wait(0, count, State::WAITS_FOR_BLOCK))
            release(0, count, State::WAITS_FOR_BLOCK);
        else
            break;
    }
    for (const Fiber& fiber : fibers)
        if (fiber.state != State::ENDED) fail("threads wait for others that never come");
}

}  // namespace

void wait_for(Group group) { pause(group == Group::BLOCK ? State::WAITS_FOR_BLOCK : State::WAITS_FOR_WARP); }

const uint64_t* exchange(uint64_t value) {
    const unsigned index = running;
    Warp& warp = warps[index / WARP];
    warp.given[index % WARP] = value;
    wait_for(Group::WARP);
    return warp.read;
}

int tensor_cores() {
    static const int made = [] {
        const char* asked = std::getenv("EDGEDET_CUDA_ON_HOST_TENSOR_CORES");
        return asked == nullptr ? 0 : std::atoi(asked);
    }();
    return made;
}

namespace {

// Rows and columns of a matrix of int8, as the lanes of a warp gave them.
int8_t byte_of(const uint64_t* of_lane, unsigned lane, unsigned shift) {
    return static_cast<int8_t>(of_lane[lane] >> shift);
}

// PTX ISA, "Matrix fragments for mma.m8n8k16", of .s8: row = groupID, col = threadID_in_group * 4 + i of A; of B row =
// threadID_in_group * 4 + i, col = groupID; of C row = groupID, col = threadID_in_group * 2 + i.
void mma_m8n8k16(uint32_t a, uint32_t b, int32_t* sums) {
    const uint64_t* given = exchange(a | uint64_t{b} << 32);
    const unsigned lane = running % WARP, row = lane / 4;
    for (unsigned i = 0; i < 2; ++i)
        for (unsigned k = 0; k < 16; ++k) {
            const unsigned column = lane % 4 * 2 + i;
            sums[i] += byte_of(given, row * 4 + k / 4, k % 4 * 8) * byte_of(given, column * 4 + k / 4, 32 + k % 4 * 8);
        }
}

// "Matrix fragments for mma.m16n8k32", of .s8: A's a_i has row = groupID for i < 4 and 8 <= i < 12, else groupID + 8, and
// col = threadID_in_group * 4 + i % 4, 16 more from i = 8 on; B's b_i has row = threadID_in_group * 4 + i % 4, 16 more
// from i = 4 on, and col = groupID; C's c_i has row = groupID, 8 more from i = 2 on, and col = threadID_in_group * 2 +
// i % 2.
void mma_m16n8k32(const uint32_t (&a)[4], uint32_t first, uint32_t second, int32_t* sums) {
    int8_t rows[16][32], columns[8][32];
    const uint64_t given[] = {a[0] | uint64_t{a[1]} << 32, a[2] | uint64_t{a[3]} << 32,
                              first | uint64_t{second} << 32};
    const uint64_t* of_lane = exchange(given[0]);
    for (unsigned lane = 0; lane < WARP; ++lane)
        for (unsigned i = 0; i < 8; ++i) rows[lane / 4 + (i < 4 ? 0 : 8)][lane % 4 * 4 + i % 4] = byte_of(of_lane, lane, i * 8);
    of_lane = exchange(given[1]);
    for (unsigned lane = 0; lane < WARP; ++lane)
        for (unsigned i = 8; i < 16; ++i)
            rows[lane / 4 + (i < 12 ? 0 : 8)][lane % 4 * 4 + i % 4 + 16] = byte_of(of_lane, lane, (i - 8) * 8);
    of_lane = exchange(given[2]);
    for (unsigned lane = 0; lane < WARP; ++lane)
        for (unsigned i = 0; i < 8; ++i)
            columns[lane / 4][lane % 4 * 4 + i % 4 + (i < 4 ? 0 : 16)] = byte_of(of_lane, lane, i * 8);
    const unsigned lane = running % WARP;
    for (unsigned i = 0; i < 4; ++i)
        for (unsigned k = 0; k < 32; ++k)
            sums[i] += rows[lane / 4 + (i < 2 ? 0 : 8)][k] * columns[lane % 4 * 2 + i % 2][k];
}

uint64_t products = 0;

}  // namespace

void mma(const uint32_t (&a)[4], uint32_t first, uint32_t second, int32_t (&sums)[4]) {
    if (tensor_cores() >= 80) return mma_m16n8k32(a, first, second, sums);
    mma_m8n8k16(a[0], first, sums);
    mma_m8n8k16(a[2], second, sums);
    mma_m8n8k16(a[1], first, sums + 2);
    mma_m8n8k16(a[3], second, sums + 2);
}

void count_product() {
    if (running % WARP == 0) ++products;
}

cudaError_t run(dim3 grid, dim3 threads, const std::function<void()>& kernel) {
    constexpr unsigned MOST = 1024, MOST_YZ = 65535;
    const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
    if (blocks == 0 || grid.y > MOST_YZ || grid.z > MOST_YZ || threads.x == 0 || threads.x > MOST)
        return cudaErrorInvalidValue;
    fibers.resize(threads.x);
    warps.assign((threads.x + WARP - 1) / WARP, Warp{});
    work = &kernel;
    grid_size = grid;
    block_size = threads;
    for (block.z = 0; block.z < grid.z; ++block.z)
        for (block.y = 0; block.y < grid.y; ++block.y)
            for (block.x = 0; block.x < grid.x; ++block.x) run_block(threads.x);
    return cudaSuccess;
}

}  // namespace cuda_on_host

// For tests: what cuda_on_host::count_product counted.
extern "C" __attribute__((visibility("default"))) uint64_t edgedet_cuda_on_host_products() {
    return cuda_on_host::products;
}
