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
