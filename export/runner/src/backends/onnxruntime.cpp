// ONNX Runtime, opened while the program runs: one program works with every version from 1.17 on (of its C interface only
// what 1.17 has is asked for), starts where there is none, and needs nothing but headers to be built.
#define ORT_API_MANUAL_INIT
#include <onnxruntime_c_api.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "backends/backends.h"
#include "error.h"
#include "files.h"
#include "library.h"

namespace edgedet::runner {
namespace {

constexpr std::uint32_t API = 17;
constexpr std::size_t MODEL_LIMIT = std::size_t{512} << 20;
constexpr std::size_t METADATA_LIMIT = std::size_t{4} << 20;
constexpr std::int64_t OUTPUT_LIMIT = std::int64_t{1} << 28;
constexpr std::uintptr_t ALIGNMENT = 64;
const char* const EXPORT_AGAIN = "export it with `edgedet export model.pt`";

struct Runtime {
    const OrtApi* api;
    std::string version, path;
};

Runtime open_runtime(const std::string& given) {
    const char* const fix =
        "install ONNX Runtime 1.17 or newer, put its libonnxruntime.so.1 beside this program or into ../lib, or name it: "
        "--onnxruntime FILE";
    std::vector<std::string> names;
    if (given.empty()) {
        const std::string folder = own_folder();
        for (const char* place : {"/", "/lib/", "/../lib/"})
            for (const char* name : {"libonnxruntime.so.1", "libonnxruntime.so"}) names.push_back(folder + place + name);
        names.push_back("libonnxruntime.so.1"), names.push_back("libonnxruntime.so");
    }
    const Library library = given.empty() ? Library::first_of(names, "there is no libonnxruntime here", fix)
                                          : Library(given.find('/') == std::string::npos ? "./" + given : given, fix);
    const OrtApiBase* base = library.function<const OrtApiBase* (*)()>("OrtGetApiBase")();
    const OrtApi* api = base->GetApi(API);
    if (api == nullptr)
        throw Error(std::string("ONNX Runtime ") + base->GetVersionString() + " is too old", library.name(), fix);
    return {api, base->GetVersionString(), library.name()};
}

// One for the process, as ONNX Runtime's own environment is.
const Runtime& runtime(const std::string& given) {
    static const Runtime opened = open_runtime(given);
    return opened;
}

// A thing of ONNX Runtime's, released at its end.
template <typename Thing>
class Owned {
public:
    Owned(Thing* thing, void (*release)(Thing*)) : thing_(thing), release_(release) {}
    Owned(Owned&& other) noexcept : thing_(std::exchange(other.thing_, nullptr)), release_(other.release_) {}
    Owned& operator=(Owned&& other) noexcept {
        std::swap(thing_, other.thing_), std::swap(release_, other.release_);
        return *this;
    }
    ~Owned() {
        if (thing_ != nullptr) release_(thing_);
    }
    Thing* get() const { return thing_; }

private:
    Thing* thing_;
    void (*release_)(Thing*);
};

// What ONNX Runtime says of a failure, in one line.
std::string reason_of(const OrtApi& api, OrtStatus* status) {
    std::string text = api.GetErrorMessage(status);
    api.ReleaseStatus(status);
    text = text.substr(0, text.find('\n'));
    const std::size_t colon = text.rfind(" : ");
    return (colon == std::string::npos ? text : text.substr(colon + 3)).substr(0, 200);
}

// Whether the protobuf names another file for the data of a tensor: key 1 of a pair, `location`; its length may be padded.
bool keeps_weights_elsewhere(const std::vector<unsigned char>& data) {
    static const std::string word = "location";
    for (auto at = data.begin(); (at = std::search(at, data.end(), word.begin(), word.end())) != data.end(); ++at) {
        auto before = at;
        if (before != data.begin() && *(before - 1) == 0x08) {
            --before;
        } else {
            if (before == data.begin() || *(before - 1) != 0x00) continue;
            --before;
            while (before != data.begin() && *(before - 1) == 0x80) --before;
            if (before == data.begin() || *(before - 1) != 0x88) continue;
            --before;
        }
        if (before != data.begin() && *(before - 1) == 0x0A) return true;
    }
    return false;
}

class OnnxRuntimeBackend : public Backend {
public:
    OnnxRuntimeBackend(const std::string& path, const LoadOptions& options)
        : runtime_(runtime(options.onnxruntime)),
          api_(*runtime_.api),
          path_(path),
          name_("onnxruntime " + runtime_.version + " (cpu)"),
          environment_(make<OrtEnv>(api_.ReleaseEnv,
                                    [&](OrtEnv** out) { return api_.CreateEnv(ORT_LOGGING_LEVEL_FATAL, "edgedet", out); })),
          session_(start(read_file(path, MODEL_LIMIT), options)),
          memory_(make<OrtMemoryInfo>(api_.ReleaseMemoryInfo,
                                      [&](OrtMemoryInfo** out) {
                                          return api_.CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, out);
                                      })),
          binding_(make<OrtIoBinding>(api_.ReleaseIoBinding, [&](OrtIoBinding** out) {
              return api_.CreateIoBinding(session_.get(), out);
          })) {
        read_specification();
        bind_input();
        bind_outputs();
    }

    const std::string& name() const override { return name_; }
    const std::string& specification() const override { return specification_; }
    Tensor& input() override { return input_; }
    const std::vector<Tensor>& outputs() const override { return outputs_; }

    void run() override {
        if (OrtStatus* status = api_.RunWithBinding(session_.get(), nullptr, binding_.get()))
            throw Error("ONNX Runtime could not run the model (" + reason_of(api_, status) + ")", path_, EXPORT_AGAIN);
    }

private:
    template <typename Thing, typename Make>
    Owned<Thing> make(void (*release)(Thing*), Make make_it) {
        Thing* thing = nullptr;
        check(make_it(&thing));
        return Owned<Thing>(thing, release);
    }

    void check(OrtStatus* status) const {
        if (status != nullptr)
            throw Error("ONNX Runtime failed (" + reason_of(api_, status) + ")", path_, EXPORT_AGAIN);
    }

    Owned<OrtSessionOptions> session_options(const LoadOptions& options, bool keep_quantizers) {
        auto made = make<OrtSessionOptions>(api_.ReleaseSessionOptions,
                                            [&](OrtSessionOptions** out) { return api_.CreateSessionOptions(out); });
        OrtSessionOptions* settings = made.get();
        check(api_.SetSessionGraphOptimizationLevel(settings, ORT_ENABLE_ALL));
        check(api_.SetSessionExecutionMode(settings, ORT_SEQUENTIAL));
        check(api_.SetInterOpNumThreads(settings, 1));
        check(api_.SetIntraOpNumThreads(settings, options.threads));
        check(api_.SetSessionLogSeverityLevel(settings, ORT_LOGGING_LEVEL_FATAL));
        // Idle threads would spin, and take the cores that decoding and preprocessing need next.
        check(api_.AddSessionConfigEntry(settings, "session.intra_op.allow_spinning", "0"));
        check(api_.AddSessionConfigEntry(settings, "session.disable_quant_qdq", keep_quantizers ? "1" : "0"));
        // Should a file name others in a way that is not seen, they are looked for where nothing can be.
        check(api_.AddSessionConfigEntry(settings, "session.model_external_initializers_file_folder_path", "/dev/null"));
        if (!options.operators.empty()) register_operators(settings, options.operators);
        return made;
    }

    void register_operators(OrtSessionOptions* settings, const std::string& path) {
        const char* const fix = "build it for this machine: make operators";
        require_library(path, fix);
        const std::string named = path.find('/') == std::string::npos ? "./" + path : path;
        if (OrtStatus* status = api_.RegisterCustomOpsLibrary_V2(settings, named.c_str()))
            throw Error("not a library of operators that ONNX Runtime " + runtime_.version + " can load (" +
                            reason_of(api_, status) + ")",
                        path, fix);
    }

    Owned<OrtSession> start(const std::vector<unsigned char>& data, const LoadOptions& options) {
        if (keeps_weights_elsewhere(data))
            throw Error("keeps weights in other files, which are not followed", path_, EXPORT_AGAIN);
        std::string failure;
        // ONNX Runtime makes integer kernels of float16 quantizers, and then refuses them: those stay nodes of their own.
        for (bool keep_quantizers : {false, true}) {
            const auto settings = session_options(options, keep_quantizers);
            OrtSession* session = nullptr;
            OrtStatus* status =
                api_.CreateSessionFromArray(environment_.get(), data.data(), data.size(), settings.get(), &session);
            if (status == nullptr) return Owned<OrtSession>(session, api_.ReleaseSession);
            if (failure.empty()) failure = api_.GetErrorMessage(status);
            const std::string reason = reason_of(api_, status);
            if (keep_quantizers) explain(failure, reason, !options.operators.empty());
        }
        throw Error("cannot be loaded", path_, EXPORT_AGAIN);
    }

    [[noreturn]] void explain(const std::string& failure, const std::string& reason, bool has_operators) const {
        if (!has_operators && failure.find("edgedet:EdgeDet") != std::string::npos &&
            failure.find("is not a registered") != std::string::npos)
            throw Error("made for TensorRT's plugins: an operator of edgedet is in it, and its function is not", path_,
                        "give the library of operators (make operators): --operators libedgedet_onnxruntime.so");
        throw Error("not a model that ONNX Runtime can load (" + reason + ")", path_,
                    std::string("the file may be truncated or of another kind: copy it again, or ") + EXPORT_AGAIN);
    }

    void read_specification() {
        const auto metadata = make<OrtModelMetadata>(api_.ReleaseModelMetadata, [&](OrtModelMetadata** out) {
            return api_.SessionGetModelMetadata(session_.get(), out);
        });
        OrtAllocator* allocator = nullptr;
        check(api_.GetAllocatorWithDefaultOptions(&allocator));
        char* text = nullptr;
        check(api_.ModelMetadataLookupCustomMetadataMap(metadata.get(), allocator, "edgedet", &text));
        if (text == nullptr) throw Error("an ONNX model, but not one that edgedet exported", path_, EXPORT_AGAIN);
        const std::size_t length = std::strlen(text);
        if (length <= METADATA_LIMIT) specification_.assign(text, length);
        allocator->Free(allocator, text);
        if (length > METADATA_LIMIT) throw Error("its metadata is larger than 4 MiB", path_, EXPORT_AGAIN);
    }

    std::string name_of(bool is_input, std::size_t place) {
        OrtAllocator* allocator = nullptr;
        check(api_.GetAllocatorWithDefaultOptions(&allocator));
        char* text = nullptr;
        check(is_input ? api_.SessionGetInputName(session_.get(), place, allocator, &text)
                       : api_.SessionGetOutputName(session_.get(), place, allocator, &text));
        std::string name = text;
        allocator->Free(allocator, text);
        return name;
    }

    Type type_of(const OrtTensorTypeAndShapeInfo* info, const std::string& name) {
        ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
        check(api_.GetTensorElementType(info, &type));
        if (type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) return Type::float32;
        if (type == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32) return Type::int32;
        throw Error(name + " is neither of float32 nor of int32", path_, EXPORT_AGAIN);
    }

    std::vector<std::int64_t> shape_of(const OrtTensorTypeAndShapeInfo* info) {
        std::size_t rank = 0;
        check(api_.GetDimensionsCount(info, &rank));
        std::vector<std::int64_t> shape(rank);
        check(api_.GetDimensions(info, shape.data(), rank));
        return shape;
    }

    Owned<OrtValue> over(Tensor& tensor, std::vector<std::int32_t>& memory) {
        memory.assign(tensor.count() + ALIGNMENT / 4, 0);  // both types take four bytes
        const auto begin = reinterpret_cast<std::uintptr_t>(memory.data());
        tensor.data = reinterpret_cast<void*>((begin + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
        return make<OrtValue>(api_.ReleaseValue, [&](OrtValue** out) {
            return api_.CreateTensorWithDataAsOrtValue(
                memory_.get(), tensor.data, 4 * tensor.count(), tensor.shape.data(), tensor.shape.size(),
                tensor.type == Type::float32 ? ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT : ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32, out);
        });
    }

    void bind_input() {
        std::size_t count = 0;
        check(api_.SessionGetInputCount(session_.get(), &count));
        if (count != 1) throw Error("takes " + std::to_string(count) + " inputs instead of one", path_, EXPORT_AGAIN);
        input_.name = name_of(true, 0);
        const auto info = make<OrtTypeInfo>(
            api_.ReleaseTypeInfo, [&](OrtTypeInfo** out) { return api_.SessionGetInputTypeInfo(session_.get(), 0, out); });
        const OrtTensorTypeAndShapeInfo* tensor = nullptr;
        check(api_.CastTypeInfoToTensorInfo(info.get(), &tensor));
        if (tensor == nullptr) throw Error("its input is no tensor", path_, EXPORT_AGAIN);
        input_.type = type_of(tensor, input_.name);
        input_.shape = shape_of(tensor);
        if (!input_.shape.empty() && input_.shape[0] < 1) input_.shape[0] = 1;  // a free batch size
        std::int64_t elements = 1;
        for (std::int64_t size : input_.shape) {
            if (size < 1 || (elements *= std::min(size, OUTPUT_LIMIT)) > OUTPUT_LIMIT)
                throw Error("its input is of no fixed height and width, or too large", path_, EXPORT_AGAIN);
        }
        input_value_.push_back(over(input_, input_memory_));
        check(api_.BindInput(binding_.get(), input_.name.c_str(), input_value_[0].get()));
    }

    // A first run tells the shapes, of whatever a model leaves free; from then on outputs go to the same memory.
    void bind_outputs() {
        std::size_t count = 0;
        check(api_.SessionGetOutputCount(session_.get(), &count));
        for (std::size_t place = 0; place < count; ++place) {
            outputs_.emplace_back();
            outputs_.back().name = name_of(false, place);
            check(api_.BindOutputToDevice(binding_.get(), outputs_.back().name.c_str(), memory_.get()));
        }
        run();
        OrtAllocator* allocator = nullptr;
        check(api_.GetAllocatorWithDefaultOptions(&allocator));
        OrtValue** values = nullptr;
        std::size_t found = 0;
        check(api_.GetBoundOutputValues(binding_.get(), allocator, &values, &found));
        std::vector<Owned<OrtValue>> owned;
        for (std::size_t place = 0; place < found; ++place) owned.emplace_back(values[place], api_.ReleaseValue);
        allocator->Free(allocator, values);
        for (std::size_t place = 0; place < outputs_.size(); ++place) {
            const auto info = make<OrtTensorTypeAndShapeInfo>(
                api_.ReleaseTensorTypeAndShapeInfo,
                [&](OrtTensorTypeAndShapeInfo** out) { return api_.GetTensorTypeAndShape(owned.at(place).get(), out); });
            outputs_[place].type = type_of(info.get(), outputs_[place].name);
            outputs_[place].shape = shape_of(info.get());
        }
        api_.ClearBoundOutputs(binding_.get());
        output_memory_.resize(outputs_.size());
        for (std::size_t place = 0; place < outputs_.size(); ++place) {
            output_values_.push_back(over(outputs_[place], output_memory_[place]));
            check(api_.BindOutput(binding_.get(), outputs_[place].name.c_str(), output_values_.back().get()));
        }
    }

    const Runtime& runtime_;
    const OrtApi& api_;
    std::string path_, name_, specification_;
    Tensor input_;
    std::vector<Tensor> outputs_;
    std::vector<std::int32_t> input_memory_;
    std::vector<std::vector<std::int32_t>> output_memory_;
    Owned<OrtEnv> environment_;
    Owned<OrtSession> session_;
    Owned<OrtMemoryInfo> memory_;
    std::vector<Owned<OrtValue>> input_value_, output_values_;
    Owned<OrtIoBinding> binding_;
};

}  // namespace

std::unique_ptr<Backend> open_onnxruntime(const std::string& path, const LoadOptions& options) {
    return std::make_unique<OnnxRuntimeBackend>(path, options);
}

std::string onnxruntime_description() { return "onnxruntime"; }

}  // namespace edgedet::runner
