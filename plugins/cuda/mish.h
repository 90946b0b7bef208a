// Mish on a GPU, element by element. All pointers but the table are of the device; work is put on the stream.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace edgedet {
namespace cuda {

// The 256 values of kernels/mish.h's table, as a kernel takes them.
struct MishTable {
    int8_t values[256];
};

cudaError_t mish(const float* input, float* output, size_t count, cudaStream_t stream);
cudaError_t mish(const __half* input, __half* output, size_t count, cudaStream_t stream);
cudaError_t mish(const int8_t* input, int8_t* output, size_t count, const MishTable& table, cudaStream_t stream);

}  // namespace cuda
}  // namespace edgedet
