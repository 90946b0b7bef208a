// The CUDA runtime, opened while the program runs: it starts on machines without a GPU, too.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <string>

#include "library.h"

namespace edgedet::runner {

// The functions that are used. Where one fails, `Error` is thrown.
class Cuda {
public:
    Cuda();

    cudaStream_t new_stream() const;
    void free_stream(cudaStream_t stream) const noexcept { stream_destroy_(stream); }
    void wait(cudaStream_t stream) const { check(stream_synchronize_(stream), "a run on the GPU"); }

    void* new_device_memory(std::size_t bytes) const;
    void* new_pinned_memory(std::size_t bytes) const;  // zeros
    void free_device_memory(void* memory) const noexcept { free_(memory); }
    void free_pinned_memory(void* memory) const noexcept { free_host_(memory); }

    void to_device(void* device, const void* host, std::size_t bytes, cudaStream_t stream) const {
        check(memcpy_async_(device, host, bytes, cudaMemcpyHostToDevice, stream), "a copy to the GPU");
    }
    void to_host(void* host, const void* device, std::size_t bytes, cudaStream_t stream) const {
        check(memcpy_async_(host, device, bytes, cudaMemcpyDeviceToHost, stream), "a copy from the GPU");
    }

    // Of the current device.
    std::string compute_capability() const;
    int multiprocessors() const { return attribute(cudaDevAttrMultiProcessorCount); }
    std::string gpu_name() const;

private:
    void check(cudaError_t status, const char* what) const;
    int device() const;
    int attribute(cudaDeviceAttr which) const;

    Library library_;
    decltype(&cudaStreamCreateWithFlags) stream_create_;
    decltype(&cudaStreamDestroy) stream_destroy_;
    decltype(&cudaStreamSynchronize) stream_synchronize_;
    cudaError_t (*malloc_)(void**, std::size_t);
    decltype(&cudaFree) free_;
    cudaError_t (*host_alloc_)(void**, std::size_t, unsigned);
    decltype(&cudaFreeHost) free_host_;
    cudaError_t (*memcpy_async_)(void*, const void*, std::size_t, cudaMemcpyKind, cudaStream_t);
    decltype(&cudaGetDevice) get_device_;
    cudaError_t (*attribute_)(int*, cudaDeviceAttr, int);
    decltype(&cudaGetErrorString) error_string_;
};

}  // namespace edgedet::runner
