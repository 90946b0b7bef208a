// Runs and times a model on ONNX Runtime with no Python between queries, for overhead.py, which loads this as a library.
//
// Python's module exports nothing of ONNX Runtime. But a library of operators is handed its whole interface: registered
// as one, with no operators in it, this runs the very code that Python's sessions run.
#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

// As `session_options` of edgedet/runtime/backends/onnxruntime.py sets them.
Ort::SessionOptions session_options(int threads) {
    Ort::SessionOptions options;
    options.SetGraphOptimizationLevel(ORT_ENABLE_ALL);
    options.SetExecutionMode(ORT_SEQUENTIAL);
    options.SetInterOpNumThreads(1);
    options.SetIntraOpNumThreads(threads);
    options.AddConfigEntry("session.intra_op.allow_spinning", "0");
    options.AddConfigEntry("session.disable_quant_qdq", "0");
    options.SetLogSeverityLevel(ORT_LOGGING_LEVEL_FATAL);
    return options;
}

void read_values(const char* path, float* values, size_t count) {
    std::ifstream file(path, std::ios::binary);
    const auto bytes = static_cast<std::streamsize>(count * sizeof(float));
    if (!file.read(reinterpret_cast<char*>(values), bytes) || file.peek() != std::ifstream::traits_type::eof()) {
        throw std::runtime_error(std::string(path) + " does not hold " + std::to_string(bytes) + " bytes");
    }
}

// A model whose input and outputs are bound to memory once.
class Loop {
public:
    // `input` holds the raw float32 values of the model's only input, whose shape must be fixed.
    Loop(const char* model, const char* input, int threads)
        : env_(ORT_LOGGING_LEVEL_FATAL), session_(env_, model, session_options(threads)), binding_(session_) {
        Ort::AllocatorWithDefaultOptions allocator;
        if (session_.GetInputCount() != 1) throw std::runtime_error("the model has not one input");
        const auto input_name = session_.GetInputNameAllocated(0, allocator);
        const Ort::TypeInfo type = session_.GetInputTypeInfo(0);  // what describes the tensor lives in it
        const auto described = type.GetTensorTypeAndShapeInfo();
        const std::vector<int64_t> shape = described.GetShape();
        for (int64_t size : shape) {
            if (size <= 0) throw std::runtime_error("the model's input has no fixed shape");
        }
        Ort::Value value = Ort::Value::CreateTensor<float>(allocator, shape.data(), shape.size());
        read_values(input, value.GetTensorMutableData<float>(), described.GetElementCount());

        std::vector<Ort::AllocatedStringPtr> owned;
        std::vector<const char*> names;
        for (size_t place = 0; place < session_.GetOutputCount(); ++place) {
            owned.push_back(session_.GetOutputNameAllocated(place, allocator));
            names.push_back(owned.back().get());
        }
        // The first run allocates the outputs; all others write to the same memory.
        const char* const input_names[] = {input_name.get()};
        const auto outputs = session_.Run(run_options_, input_names, &value, 1, names.data(), names.size());
        binding_.BindInput(input_name.get(), value);
        for (size_t place = 0; place < outputs.size(); ++place) binding_.BindOutput(names[place], outputs[place]);
    }

    double run() {
        const auto start = std::chrono::steady_clock::now();
        session_.Run(run_options_, binding_);
        return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    }

private:
    Ort::Env env_;
    Ort::Session session_;
    Ort::IoBinding binding_;  // keeps what is bound
    Ort::RunOptions run_options_;
};

}  // namespace

extern "C" {

OrtStatus* RegisterCustomOps(OrtSessionOptions*, const OrtApiBase* base) {
    Ort::InitApi(base->GetApi(ORT_API_VERSION));
    return nullptr;
}

// No exception may leave the library: what went wrong is printed.

Loop* loop_open(const char* model, const char* input, int threads) {
    try {
        return new Loop(model, input, threads);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "ort_loop: %s\n", error.what());
        return nullptr;
    }
}

bool loop_run(Loop* loop, int count, double* milliseconds) {
    try {
        for (int query = 0; query < count; ++query) milliseconds[query] = loop->run();
        return true;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "ort_loop: %s\n", error.what());
        return false;
    }
}

void loop_close(Loop* loop) { delete loop; }
}
