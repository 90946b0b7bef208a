// Memory of the device for the length of a call, for what is given on the host.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

namespace edgedet {
namespace cuda {

// The first error of all its calls is the one that stays.
class Scratch {
public:
    ~Scratch() {
        for (int index = 0; index < count_; ++index) cudaFree(made_[index]);
    }
    void* room(size_t bytes) {
        void* made = nullptr;
        if (status == cudaSuccess) status = cudaMalloc(&made, bytes + 1);
        if (status == cudaSuccess) made_[count_++] = made;
        return made;
    }
    void* copy_of(const void* host, size_t bytes) {
        void* made = room(bytes);
        if (status == cudaSuccess) status = cudaMemcpy(made, host, bytes, cudaMemcpyHostToDevice);
        return made;
    }
    void bring(void* host, const void* device, size_t bytes) {
        if (status == cudaSuccess) status = cudaMemcpy(host, device, bytes, cudaMemcpyDeviceToHost);
    }
    cudaError_t status = cudaSuccess;

private:
    void* made_[8];
    int count_ = 0;
};

}  // namespace cuda
}  // namespace edgedet
