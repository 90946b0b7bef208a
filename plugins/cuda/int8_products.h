// A warp's product of 16 rows of int8 weights and 8 columns of int8 codes, 32 deep, added to exact sums: by tensor cores
// from compute capability 7.5 on, by dot products of four from 6.1 on, else product by product.
//
// Every way has the layout of `mma.m16n8k32` (PTX ISA, "Matrix fragments for mma.m16n8k32"): with lane = 4 q + r, word i
// of a lane's weights is row q, or q + 8 of odd i, and channels 4 r to 4 r + 3, from 16 on of i >= 2; its codes are
// column q, channels 4 r to 4 r + 3 and those 16 further; its sums are columns 2 r and 2 r + 1 of row q, then of row
// q + 8. `mma.m8n8k16`, of compute capability 7.5, takes a quarter of that.
#pragma once

#include <cuda_runtime.h>

#include "cuda/gated_weights.h"

namespace edgedet {
namespace cuda {

constexpr uint32_t PRODUCT_WORDS = PRODUCT_DEPTH / 4;

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 750

struct Rows {
    Fragment mine;
    __device__ explicit Rows(const Fragment* of_lanes) : mine(of_lanes[threadIdx.x % 32]) {}
};

// codes: [PRODUCT_WORDS, STRIDE], of which the first columns are meant.
template <uint32_t STRIDE>
__device__ __forceinline__ void multiply(const Rows& rows, const uint32_t* codes, int32_t (&sums)[4]) {
    const uint32_t lane = threadIdx.x % 32;
    const uint32_t first = codes[lane % 4 * STRIDE + lane / 4], second = codes[(lane % 4 + 4) * STRIDE + lane / 4];
    const uint32_t(&a)[4] = rows.mine.words;
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(first), "r"(second));
#else
#define EDGEDET_QUARTER(part, rows, columns)                                                                   \
    asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"                       \
        : "+r"(sums[part]), "+r"(sums[part + 1])                                                               \
        : "r"(rows), "r"(columns))
    EDGEDET_QUARTER(0, a[0], first);
    EDGEDET_QUARTER(0, a[2], second);
    EDGEDET_QUARTER(2, a[1], first);
    EDGEDET_QUARTER(2, a[3], second);
#undef EDGEDET_QUARTER
#endif
}

#else

__device__ inline int32_t dot(uint32_t a, uint32_t b, int32_t sum) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 610
    return __dp4a(static_cast<int32_t>(a), static_cast<int32_t>(b), sum);
#else
    for (uint32_t shift = 0; shift < 32; shift += 8)
        sum += static_cast<int32_t>(static_cast<int8_t>(a >> shift)) * static_cast<int8_t>(b >> shift);
    return sum;
#endif
}

// Two whole rows: those of the lane's sums.
struct Rows {
    uint32_t words[2][PRODUCT_WORDS];
#if !defined(__CUDACC__)
    Fragment mine;
#endif
    __device__ explicit Rows(const Fragment* of_lanes) {
        const uint32_t lane = threadIdx.x % 32;
#pragma unroll
        for (uint32_t i = 0; i < 4; ++i) {
            const Fragment other = of_lanes[lane / 4 * 4 + i];
            words[0][i] = other.words[0];
            words[1][i] = other.words[1];
            words[0][4 + i] = other.words[2];
            words[1][4 + i] = other.words[3];
        }
#if !defined(__CUDACC__)
        mine = of_lanes[lane];
#endif
    }
};

template <uint32_t STRIDE>
__device__ inline void multiply(const Rows& rows, const uint32_t* codes, int32_t (&sums)[4]) {
    const uint32_t lane = threadIdx.x % 32;
#if !defined(__CUDACC__)
    cuda_on_host::count_product();
    if (cuda_on_host::tensor_cores() != 0) {
        const uint32_t second = (lane % 4 + 4) * STRIDE + lane / 4;
        cuda_on_host::mma(rows.mine.words, codes[lane % 4 * STRIDE + lane / 4], codes[second], sums);
        return;
    }
#endif
#pragma unroll
    for (uint32_t column = 0; column < 2; ++column)
#pragma unroll
        for (uint32_t word = 0; word < PRODUCT_WORDS; ++word) {
            const uint32_t four = codes[word * STRIDE + lane % 4 * 2 + column];
            sums[column] = dot(rows.words[0][word], four, sums[column]);
            sums[2 + column] = dot(rows.words[1][word], four, sums[2 + column]);
        }
}

#endif

}  // namespace cuda
}  // namespace edgedet
