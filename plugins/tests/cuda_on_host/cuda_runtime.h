// Runs CUDA kernels on the host, for tests where there is no GPU: the kernels' own sources, compiled by a C++ compiler.
//
// Blocks run one after another. The threads of a block are fibers: one runs until it waits, for its block or for its
// warp, and then another that may run is drawn by chance. What depends on the order of threads between two barriers comes
// out differently with another seed (EDGEDET_CUDA_ON_HOST_SEED); a barrier that some threads never reach, or lanes that
// do not come together, end the process with a message. Speed says nothing here.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>

#include "cuda_runtime_api.h"

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __launch_bounds__(...)

using std::isfinite;

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

namespace cuda_on_host {

// Of the fiber that runs.
extern dim3 thread, block, block_size, grid_size;

enum class Group { BLOCK, WARP };

// Goes on when every thread of the block, or of the warp, waits with it.
void wait_for(Group group);

// What every lane of this warp gave, once all have: by lane. Valid until the warp's next exchange.
const uint64_t* exchange(uint64_t value);

// The compute capability whose tensor cores multiply: 80, 75, or none (EDGEDET_CUDA_ON_HOST_TENSOR_CORES).
int tensor_cores();

// What they add to the sums of a warp that has come together, of a lane's fragments: by the tables of the PTX ISA,
// `mma.m16n8k32` of 80, and four times `mma.m8n8k16` of 75.
void mma(const uint32_t (&a)[4], uint32_t first, uint32_t second, int32_t (&sums)[4]);

// How often a warp's products were asked for, of all runs so far.
void count_product();

cudaError_t run(dim3 grid, dim3 threads, const std::function<void()>& kernel);

}  // namespace cuda_on_host

#define threadIdx (cuda_on_host::thread)
#define blockIdx (cuda_on_host::block)
#define blockDim (cuda_on_host::block_size)
#define gridDim (cuda_on_host::grid_size)

inline void __syncthreads() { cuda_on_host::wait_for(cuda_on_host::Group::BLOCK); }

inline uint32_t __ballot_sync(uint32_t, bool holds) {
    const uint64_t* of_lane = cuda_on_host::exchange(holds);
    uint32_t lanes = 0;
    for (unsigned lane = 0; lane < 32; ++lane) lanes |= static_cast<uint32_t>(of_lane[lane] & 1) << lane;
    return lanes;
}

inline uint32_t __shfl_sync(uint32_t, uint32_t value, unsigned from) {
    return static_cast<uint32_t>(cuda_on_host::exchange(value)[from]);
}

inline uint32_t __shfl_up_sync(uint32_t, uint32_t value, unsigned distance) {
    const unsigned lane = threadIdx.x % 32;
    return static_cast<uint32_t>(cuda_on_host::exchange(value)[lane < distance ? lane : lane - distance]);
}

inline uint32_t atomicAdd(uint32_t* at, uint32_t value) {
    const uint32_t before = *at;
    *at += value;
    return before;
}

inline uint32_t atomicOr(uint32_t* at, uint32_t value) {
    const uint32_t before = *at;
    *at |= value;
    return before;
}

inline float __expf(float x) { return std::exp(x); }

inline int __popc(uint32_t value) { return __builtin_popcount(value); }

inline uint32_t __float_as_uint(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}
