// TensorRT from 8.5 on, by the names of tensors; opened while the program runs. It is compiled against the headers of 8.6, 10
// and 11 by the tests, and has run on none of them.
#include <NvInferRuntime.h>
#include <NvInferVersion.h>

#include <dlfcn.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "backends/backends.h"
#include "backends/cuda.h"
#include "backends/manifest.h"
#include "error.h"
#include "files.h"
#include "library.h"
#include "sha256.h"

namespace edgedet::runner {
namespace {

constexpr std::size_t ENGINE_LIMIT = std::size_t{2048} << 20;
const char* const BUILD_AGAIN = "build it again on this machine: edgedet build";

std::string header_version() {
    return std::to_string(NV_TENSORRT_MAJOR) + "." + std::to_string(NV_TENSORRT_MINOR) + "." + std::to_string(NV_TENSORRT_PATCH);
}

// Keeps the last error that TensorRT tells of.
class Log : public nvinfer1::ILogger {
public:
    void log(Severity severity, const char* message) noexcept override {
        if (severity > Severity::kERROR || message == nullptr) return;
        try {
            last_ = std::string(message).substr(0, 300);
        } catch (...) {
            last_.clear();
        }
    }

    std::string because() const { return last_.empty() ? "" : " (" + last_ + ")"; }

private:
    std::string last_;
};

// libnvinfer, of the version that the program was built with.
struct TensorRt {
    Library library;
    std::string version;
};

TensorRt open_library() {
    const std::string name = "libnvinfer.so." + std::to_string(NV_TENSORRT_MAJOR);
    Library library = Library::first_of({name}, "there is no " + name + " here",
                                        "install TensorRT " + std::to_string(NV_TENSORRT_MAJOR) +
                                            ", or build edgedet-run on the device itself");
    const int number = library.function<std::int32_t (*)()>("getInferLibVersion")();
    const int major_unit = NV_TENSORRT_MAJOR >= 10 ? 10000 : 1000;
    std::string version = std::to_string(number / major_unit) + "." + std::to_string(number % major_unit / 100) + "." +
                          std::to_string(number % 100);
    return {std::move(library), std::move(version)};
}

struct Buffer {
    void* device = nullptr;
    std::size_t bytes = 0;
};

class TensorRtBackend : public Backend {
public:
    TensorRtBackend(const std::string& path, const LoadOptions& options)
        : path_(path), manifest_(read_manifest(path)), tensorrt_(open_library()), specification_(manifest_.specification) {
        const auto plan = read_file(path, ENGINE_LIMIT);
        require_this_machine(plan, options.operators);
        if (!options.operators.empty()) open_operators(options.operators);
        deserialize(plan);
        stream_ = cuda_.new_stream();
        try {
            bind();
        } catch (...) {
            release();
            throw;
        }
    }

    ~TensorRtBackend() override { release(); }

    const std::string& name() const override { return name_; }
    const std::string& specification() const override { return specification_; }
    Tensor& input() override { return input_; }
    const std::vector<Tensor>& outputs() const override { return outputs_; }

    void run() override {
        cuda_.to_device(input_buffer_.device, input_.data, input_buffer_.bytes, stream_);
        if (!context_->enqueueV3(stream_)) throw Error("TensorRT could not run the engine" + log_.because(), path_, BUILD_AGAIN);
        for (std::size_t place = 0; place < outputs_.size(); ++place)
            cuda_.to_host(outputs_[place].data, output_buffers_[place].device, output_buffers_[place].bytes, stream_);
        cuda_.wait(stream_);
    }

private:
    void require_this_machine(const std::vector<unsigned char>& plan, const std::string& operators) {
        const Platform here{tensorrt_.version, cuda_.compute_capability(), cuda_.gpu_name(), cuda_.multiprocessors()};
        name_ = "tensorrt " + here.tensorrt + " (" + here.gpu + ")";
        if (!manifest_.operators.empty() && operators.empty())
            throw Error("needs edgedet's operators for TensorRT, " + manifest_.operators, path_, "give their library: --operators FILE");
        std::string digest;
        if (!operators.empty()) {
            const auto bytes = read_file(operators, ENGINE_LIMIT);
            digest = sha256(bytes.data(), bytes.size());
        }
        std::string all;
        for (const std::string& one : differences(manifest_, sha256(plan.data(), plan.size()), here, digest))
            all += (all.empty() ? "" : "; ") + one;
        if (!all.empty()) throw Error(all, path_, std::string(BUILD_AGAIN) + " " + manifest_.onnx + " --out " + manifest_.engine);
    }

    void open_operators(const std::string& path) {
        require_library(path, "build it for this machine: make cuda TENSORRT_INCLUDE_DIR=...");
        const std::string named = path.find('/') == std::string::npos ? "./" + path : path;
#if NV_TENSORRT_MAJOR > 8 || NV_TENSORRT_MINOR >= 6
        auto* registry = tensorrt_.library.function<nvinfer1::IPluginRegistry* (*)()>("getPluginRegistry")();
        const bool taken = registry != nullptr && registry->loadLibrary(named.c_str()) != nullptr;
#else
        const bool taken = ::dlopen(named.c_str(), RTLD_NOW | RTLD_LOCAL) != nullptr;  // it registers its plugins itself
#endif
        if (!taken) throw Error("TensorRT takes no plugins from it" + log_.because(), path, "build it for this TensorRT: make cuda");
    }

    void deserialize(const std::vector<unsigned char>& plan) {
        const auto create = tensorrt_.library.function<void* (*)(void*, std::int32_t)>("createInferRuntime_INTERNAL");
        runtime_.reset(static_cast<nvinfer1::IRuntime*>(create(&log_, NV_TENSORRT_VERSION)));
        if (runtime_ == nullptr) throw Error("TensorRT does not start" + log_.because(), path_, "see whether trtexec starts");
        if (manifest_.dla_core >= 0) runtime_->setDLACore(manifest_.dla_core);
        engine_.reset(runtime_->deserializeCudaEngine(plan.data(), plan.size()));
        if (engine_ != nullptr) context_.reset(engine_->createExecutionContext());
        if (context_ == nullptr)
            throw Error("TensorRT " + tensorrt_.version + " cannot load the plan" + log_.because(), path_, BUILD_AGAIN);
    }

    void bind() {
        bool has_input = false;
        const int count = engine_->getNbIOTensors();
        for (int place = 0; place < count; ++place) {
            const char* name = engine_->getIOTensorName(place);
            if (engine_->getTensorIOMode(name) != nvinfer1::TensorIOMode::kINPUT) continue;
            if (has_input) throw Error("takes more than one input", path_, BUILD_AGAIN);
            has_input = true;
            bind_input(name);
        }
        if (!has_input) throw Error("takes no input", path_, BUILD_AGAIN);
        outputs_.reserve(static_cast<std::size_t>(count)), output_buffers_.reserve(static_cast<std::size_t>(count));
        for (int place = 0; place < count; ++place) {
            const char* name = engine_->getIOTensorName(place);
            if (engine_->getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT) continue;
            outputs_.emplace_back(), output_buffers_.emplace_back();
            bind_tensor(name, context_->getTensorShape(name), outputs_.back(), output_buffers_.back());
        }
    }

    void bind_input(const char* name) {
        nvinfer1::Dims shape = engine_->getTensorShape(name);
        if (shape.nbDims > 0 && shape.d[0] < 0) {  // a free batch size: the smallest that its profile allows
            shape.d[0] = std::max<decltype(+shape.d[0])>(1, engine_->getProfileShape(name, 0, nvinfer1::OptProfileSelector::kMIN).d[0]);
            if (!context_->setInputShape(name, shape)) throw Error("does not take its smallest batch" + log_.because(), path_, BUILD_AGAIN);
        }
        bind_tensor(name, shape, input_, input_buffer_);
    }

    void bind_tensor(const char* name, const nvinfer1::Dims& shape, Tensor& tensor, Buffer& buffer) {
        const nvinfer1::DataType type = engine_->getTensorDataType(name);
        if (type != nvinfer1::DataType::kFLOAT && type != nvinfer1::DataType::kINT32)
            throw Error(std::string(name) + " is neither of float32 nor of int32", path_, BUILD_AGAIN);
        tensor.name = name;
        tensor.type = type == nvinfer1::DataType::kFLOAT ? Type::float32 : Type::int32;
        for (int place = 0; place < shape.nbDims; ++place) {
            if (shape.d[place] < 0) throw Error(std::string(name) + " is of no fixed shape", path_, BUILD_AGAIN);
            tensor.shape.push_back(shape.d[place]);
        }
        buffer.bytes = 4 * tensor.count();
        buffer.device = cuda_.new_device_memory(std::max<std::size_t>(buffer.bytes, 4));
        tensor.data = cuda_.new_pinned_memory(std::max<std::size_t>(buffer.bytes, 4));
        if (!context_->setTensorAddress(name, buffer.device)) throw Error("TensorRT refuses memory for " + tensor.name, path_, BUILD_AGAIN);
    }

    void release() noexcept {
        const auto free = [this](const Tensor& tensor, const Buffer& buffer) {
            if (buffer.device != nullptr) cuda_.free_device_memory(buffer.device);
            if (tensor.data != nullptr) cuda_.free_pinned_memory(tensor.data);
        };
        free(input_, input_buffer_);
        for (std::size_t place = 0; place < outputs_.size(); ++place) free(outputs_[place], output_buffers_[place]);
        outputs_.clear();
        if (stream_ != nullptr) cuda_.free_stream(stream_);
        stream_ = nullptr;
    }

    std::string path_, name_;
    Manifest manifest_;
    TensorRt tensorrt_;
    Cuda cuda_;
    Log log_;
    std::string specification_;
    Tensor input_;
    std::vector<Tensor> outputs_;
    Buffer input_buffer_;
    std::vector<Buffer> output_buffers_;
    cudaStream_t stream_ = nullptr;
    std::unique_ptr<nvinfer1::IRuntime> runtime_;
    std::unique_ptr<nvinfer1::ICudaEngine> engine_;
    std::unique_ptr<nvinfer1::IExecutionContext> context_;
};

}  // namespace

std::unique_ptr<Backend> open_tensorrt(const std::string& path, const LoadOptions& options) {
    return std::make_unique<TensorRtBackend>(path, options);
}

std::string tensorrt_description() { return "tensorrt " + header_version(); }

}  // namespace edgedet::runner
