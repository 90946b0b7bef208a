#include "cuda/mish.h"

#include "cuda/launch.h"
#include "kernels/mish.h"

namespace edgedet {
namespace cuda {
namespace {

constexpr unsigned THREADS = 256;
constexpr size_t PACK_BYTES = 16, MOST_BLOCKS = 1U << 20;

// As many values as are read or written at once.
template <typename Value>
struct alignas(PACK_BYTES) Pack {
    static constexpr size_t SIZE = PACK_BYTES / sizeof(Value);
    Value values[SIZE];
};

struct FloatMish {
    __device__ float operator()(float x) const { return mish_by_exp(x, expf(smaller(x, MISH_IS_IDENTITY))); }
    __device__ __half operator()(__half half) const {
        const float x = __half2float(half);
        return __float2half_rn(mish_by_exp(x, __expf(smaller(x, MISH_IS_IDENTITY))));
    }
};

struct TableMish {
    const int8_t* table;
    __device__ int8_t operator()(int8_t value) const { return table[value + 128]; }
};

template <typename Value, typename Function>
__device__ void for_each(const Value* input, Value* output, size_t count, Function function) {
    const size_t packs = count / Pack<Value>::SIZE, threads = size_t{gridDim.x} * THREADS;
    const size_t first = size_t{blockIdx.x} * THREADS + threadIdx.x;
    for (size_t at = first; at < packs; at += threads) {
        const Pack<Value> given = reinterpret_cast<const Pack<Value>*>(input)[at];
        Pack<Value> made;
#pragma unroll
        for (size_t i = 0; i < Pack<Value>::SIZE; ++i) made.values[i] = function(given.values[i]);
        reinterpret_cast<Pack<Value>*>(output)[at] = made;
    }
    for (size_t at = packs * Pack<Value>::SIZE + first; at < count; at += threads) output[at] = function(input[at]);
}

template <typename Value>
__global__ void __launch_bounds__(THREADS) float_mish(const Value* input, Value* output, size_t count) {
    for_each(input, output, count, FloatMish{});
}

__global__ void __launch_bounds__(THREADS)
    table_mish(const int8_t* input, int8_t* output, size_t count, MishTable table) {
    __shared__ int8_t shared_table[sizeof(MishTable)];
    shared_table[threadIdx.x] = table.values[threadIdx.x];
    __syncthreads();
    for_each(input, output, count, TableMish{shared_table});
}

bool is_aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % PACK_BYTES == 0; }

template <typename Value, typename... Parameters, typename... Rest>
cudaError_t start(void (*kernel)(const Value*, Value*, size_t, Parameters...), const Value* input, Value* output,
                  size_t count, cudaStream_t stream, Rest... rest) {
    if (count == 0) return cudaSuccess;
    if (!is_aligned(input) || !is_aligned(output)) return cudaErrorInvalidValue;
    const size_t each = THREADS * Pack<Value>::SIZE;
    const size_t blocks = smaller((count + each - 1) / each, MOST_BLOCKS);
    return launch(kernel, dim3(static_cast<unsigned>(blocks)), THREADS, stream, input, output, count, rest...);
}

}  // namespace

cudaError_t mish(const float* input, float* output, size_t count, cudaStream_t stream) {
    return start(float_mish<float>, input, output, count, stream);
}

cudaError_t mish(const __half* input, __half* output, size_t count, cudaStream_t stream) {
    return start(float_mish<__half>, input, output, count, stream);
}

cudaError_t mish(const int8_t* input, int8_t* output, size_t count, const MishTable& table, cudaStream_t stream) {
    return start(table_mish, input, output, count, stream, table);
}

}  // namespace cuda
}  // namespace edgedet
