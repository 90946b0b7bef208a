#include "backends/cuda.h"

#include <cstring>
#include <type_traits>

#include "error.h"

namespace edgedet::runner {
namespace {

const char* const FIX = "install the CUDA runtime that this program was built with, e.g. with JetPack";

Library open_cuda() {
    const std::string name = "libcudart.so." + std::to_string(CUDART_VERSION / 1000);
    const std::string minor = name + "." + std::to_string(CUDART_VERSION % 1000 / 10);
    return Library::first_of({name, name + ".0", minor, "/usr/local/cuda/lib64/" + name, "libcudart.so"},
                             "there is no " + name + " here", FIX);
}

}  // namespace

Cuda::Cuda() : library_(open_cuda()) {
    const auto find = [this](auto& function, const char* name) {
        function = library_.function<std::remove_reference_t<decltype(function)>>(name);
    };
    find(stream_create_, "cudaStreamCreateWithFlags"), find(stream_destroy_, "cudaStreamDestroy");
    find(stream_synchronize_, "cudaStreamSynchronize");
    find(malloc_, "cudaMalloc"), find(free_, "cudaFree");
    find(host_alloc_, "cudaHostAlloc"), find(free_host_, "cudaFreeHost");
    find(memcpy_async_, "cudaMemcpyAsync");
    find(get_device_, "cudaGetDevice"), find(attribute_, "cudaDeviceGetAttribute");
    find(error_string_, "cudaGetErrorString");
}

cudaStream_t Cuda::new_stream() const {
    cudaStream_t stream = nullptr;
    check(stream_create_(&stream, cudaStreamNonBlocking), "a CUDA stream");
    return stream;
}

void* Cuda::new_device_memory(std::size_t bytes) const {
    void* memory = nullptr;
    check(malloc_(&memory, bytes), "memory on the GPU");
    return memory;
}

void* Cuda::new_pinned_memory(std::size_t bytes) const {
    void* memory = nullptr;
    check(host_alloc_(&memory, bytes, cudaHostAllocDefault), "pinned memory");
    std::memset(memory, 0, bytes);
    return memory;
}

std::string Cuda::compute_capability() const {
    return std::to_string(attribute(cudaDevAttrComputeCapabilityMajor)) + "." +
           std::to_string(attribute(cudaDevAttrComputeCapabilityMinor));
}

// By the driver's own function: the runtime's structure of properties changes its layout from version to version.
std::string Cuda::gpu_name() const {
    const Library driver("libcuda.so.1", "install NVIDIA's driver");
    char name[256] = "";
    const auto start = driver.function<int (*)(unsigned)>("cuInit");
    const auto get_name = driver.function<int (*)(char*, int, int)>("cuDeviceGetName");
    if (start(0) != 0 || get_name(name, sizeof name, device()) != 0) throw Error("there is no GPU here", "CUDA", "see what nvidia-smi says");
    return name;
}

void Cuda::check(cudaError_t status, const char* what) const {
    if (status != cudaSuccess)
        throw Error(std::string(what) + " failed (" + error_string_(status) + ")", "CUDA", "see what nvidia-smi, or on a Jetson tegrastats, says");
}

int Cuda::device() const {
    int number = 0;
    check(get_device_(&number), "finding the GPU");
    return number;
}

int Cuda::attribute(cudaDeviceAttr which) const {
    int value = 0;
    check(attribute_(&value, which, device()), "asking the GPU");
    return value;
}

}  // namespace edgedet::runner
