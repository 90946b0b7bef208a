// The small interface through which the runner knows inference engines. A backend is one file in `backends/`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace edgedet::runner {

enum class Type { float32, int32 };

// An input or output: the same memory for every run.
struct Tensor {
    std::string name;
    Type type = Type::float32;
    std::vector<std::int64_t> shape;
    void* data = nullptr;

    std::size_t count() const {
        std::size_t product = 1;
        for (std::int64_t size : shape) product *= static_cast<std::size_t>(size);
        return product;
    }
    const float* floats() const { return static_cast<const float*>(data); }
    const std::int32_t* integers() const { return static_cast<const std::int32_t*>(data); }
};

// A loaded model that can be run, by one thread at a time.
class Backend {
public:
    virtual ~Backend() = default;

    // The engine, its version and where it runs, e.g. `onnxruntime 1.23.2 (cpu)`.
    virtual const std::string& name() const = 0;

    // The specification that travels with the model, as JSON.
    virtual const std::string& specification() const = 0;

    // `images [B, 3, H, W]`, zeros until somebody writes into it.
    virtual Tensor& input() = 0;

    // `boxes [B, N, 4]` and `scores [B, N, C]`, or `num_dets`, `det_boxes`, `det_scores`, `det_classes`.
    virtual const std::vector<Tensor>& outputs() const = 0;

    // From the input's memory to the outputs'. Throws `Error`.
    virtual void run() = 0;
};

struct LoadOptions {
    int threads = 0;           // for inference; 0: one a core
    std::string operators;     // library of edgedet's operators: code that is run; empty: none
    std::string onnxruntime;   // libonnxruntime.so; empty: where libraries are
};

// The model in a `.onnx` or `.engine` file. Throws `Error`: missing, broken, not one of edgedet's, no such backend here.
std::unique_ptr<Backend> open_backend(const std::string& path, const LoadOptions& options);

// The names of the backends that were built in, with a comma between them.
std::string built_backends();

}  // namespace edgedet::runner
