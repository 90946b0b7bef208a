// What an engine's manifest says of the machine that it was built on, as variables of a shell; no headers are needed.
//   platform libnvinfer.so
#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

[[noreturn]] void fail(const std::string& what) {
    std::fprintf(stderr, "error: %s\n", what.c_str());
    std::exit(1);
}

void* opened(const char* name) {
    void* library = dlopen(name, RTLD_NOW);
    if (!library) fail(std::string(dlerror()));
    return library;
}

template <typename Function>
Function* function(void* library, const char* name) {
    void* found = dlsym(library, name);
    if (!found) fail(std::string(name) + " is missing");
    return reinterpret_cast<Function*>(found);
}

// Major, minor and patch as TensorRT packs them, and as CUDA does.
std::string tensorrt_version(int32_t number) {
    const int unit = number >= 100000 ? 10000 : 1000;  // from 10 on
    return std::to_string(number / unit) + "." + std::to_string(number % unit / 100) + "." + std::to_string(number % 100);
}
std::string cuda_version(int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); }

// Quoted for a shell and for JSON: of NVIDIA's names nothing is lost.
std::string plain(const char* text) {
    std::string kept;
    for (; *text; ++text) {
        const bool safe = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') || (*text >= '0' && *text <= '9');
        if (safe || *text == ' ' || *text == '-' || *text == '(' || *text == ')' || *text == '.' || *text == '_') kept += *text;
    }
    return kept;
}

}  // namespace

int main(int count, char** words) {
    if (count != 2) fail("usage: platform libnvinfer.so");
    void* cuda = opened("libcuda.so.1");
    int device = 0, driver = 0, major = 0, minor = 0, multiprocessors = 0;
    char name[256] = "";
    const auto attribute = function<int(int*, int, int)>(cuda, "cuDeviceGetAttribute");
    if (function<int(unsigned)>(cuda, "cuInit")(0) != 0 || function<int(int*, int)>(cuda, "cuDeviceGet")(&device, 0) != 0)
        fail("CUDA finds no GPU here");
    function<int(char*, int, int)>(cuda, "cuDeviceGetName")(name, sizeof name, device);
    function<int(int*)>(cuda, "cuDriverGetVersion")(&driver);
    attribute(&major, 75, device);  // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
    attribute(&minor, 76, device);
    attribute(&multiprocessors, 16, device);
    // The runtime is there where TensorRT is, under one name or another.
    std::string runtime = "unknown";
    for (const char* library : {"libcudart.so", "/usr/local/cuda/lib64/libcudart.so"}) {
        int number = 0;
        void* found = dlopen(library, RTLD_NOW);
        if (found && function<int(int*)>(found, "cudaRuntimeGetVersion")(&number) == 0) runtime = cuda_version(number);
        if (found) break;
    }
    const int32_t version = function<int32_t()>(opened(words[1]), "getInferLibVersion")();
    std::printf("here_tensorrt='%s' here_capability='%d.%d' here_multiprocessors='%d' here_runtime='%s' here_driver='%s' here_gpu='%s'\n",
                tensorrt_version(version).c_str(), major, minor, multiprocessors, runtime.c_str(),
                cuda_version(driver).c_str(), plain(name).c_str());
    return 0;
}
