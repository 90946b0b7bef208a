// What drives a library of plugins as TensorRT would, through the interfaces of the headers that it is compiled with; no
// part of TensorRT is linked. For one source file of a program: it has what libnvinfer would export.
#pragma once

#include <NvInferRuntime.h>
#include <dlfcn.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

using namespace nvinfer1;

namespace {

int checks = 0, failures = 0;

#define CHECK(holds)                                                                  \
    do {                                                                              \
        ++checks;                                                                     \
        if (!(holds)) {                                                               \
            ++failures;                                                               \
            std::printf("%s:%d: does not hold: %s\n", __FILE__, __LINE__, #holds);    \
        }                                                                             \
    } while (false)

#define REQUIRE(holds)                     \
    do {                                   \
        CHECK(holds);                      \
        if (failures > 0) std::exit(1);    \
    } while (false)

// ---- Doubles of what TensorRT hands to a plugin ---------------------------------------------------------------------

#if NV_TENSORRT_MAJOR >= 10
using Size = int64_t;
#else
using Size = int32_t;
#endif

// A size that is known, or one by name.
class Expression final : public IDimensionExpr {
public:
    Expression(Size value, std::string name) : implementation_(value, name.empty()), name_(std::move(name)) {
        mImpl = &implementation_;
    }
    ~Expression() noexcept override {}
    std::string text() const { return name_.empty() ? std::to_string(implementation_.value) : name_; }

private:
    struct Implementation final : apiv::VDimensionExpr {
        Implementation(Size value_, bool known_) : value(value_), known(known_) {}
        bool isConstant() const noexcept override { return known; }
        Size getConstantValue() const noexcept override { return value; }
#if NV_TENSORRT_MAJOR >= 10
        bool isSizeTensor() const noexcept override { return false; }
#endif
        Size value;
        bool known;
    };
    Implementation implementation_;
    std::string name_;
};

class Builder final : public IExprBuilder {
public:
    Builder() { mImpl = &implementation_; }
    ~Builder() noexcept override {}
    const IDimensionExpr* named(const char* name) { return implementation_.made(0, name); }

private:
    struct Implementation final : apiv::VExprBuilder {
        const IDimensionExpr* made(Size value, const char* name) {
            all.emplace_back(new Expression(value, name));
            return all.back().get();
        }
        const IDimensionExpr* constant(Size value) noexcept override { return made(value, ""); }
        // As text, unless both are known.
        const IDimensionExpr* operation(DimensionOperation operation, const IDimensionExpr& first,
                                        const IDimensionExpr& second) noexcept override {
            const bool adds = operation == DimensionOperation::kSUM;
            CHECK(adds || operation == DimensionOperation::kFLOOR_DIV);
            const Size a = first.getConstantValue(), b = second.getConstantValue();
            if (first.isConstant() && second.isConstant()) return constant(adds ? a + b : a / b);
            const auto text_of = [](const IDimensionExpr& one) { return static_cast<const Expression&>(one).text(); };
            std::string text(1, '(');
            text.append(text_of(first)).append(adds ? " + " : " / ").append(text_of(second)).append(")");
            return made(0, text.c_str());
        }
#if NV_TENSORRT_MAJOR >= 10
        const IDimensionExpr* declareSizeTensor(int32_t, const IDimensionExpr&, const IDimensionExpr&) override {
            return nullptr;
        }
#endif
        std::vector<std::unique_ptr<Expression>> all;
    };
    Implementation implementation_;
};

std::string text(const DimsExprs& shape) {
    std::string made;
    for (int32_t axis = 0; axis < shape.nbDims; ++axis) {
        if (axis > 0) made += ' ';
        made += static_cast<const Expression*>(shape.d[axis])->text();
    }
    return made;
}

std::vector<std::string> messages;

class Logger final : public ILogger {
    void log(Severity severity, const char* message) noexcept override {
        CHECK(severity == Severity::kERROR);
        messages.emplace_back(message);
    }
};

std::string last_message() {
    const std::string last = messages.empty() ? "" : messages.back();
    messages.clear();
    return last;
}

// ---- Plugins of either interface, as one ----------------------------------------------------------------------------

using Fields = std::vector<PluginField>;

PluginFieldCollection collection_of(const Fields& fields) { return {static_cast<int32_t>(fields.size()), fields.data()}; }

Dims dims(std::vector<Size> sizes) {
    Dims made{};
    made.nbDims = static_cast<int32_t>(sizes.size());
    for (size_t axis = 0; axis < sizes.size(); ++axis) made.d[axis] = sizes[axis];
    return made;
}

PluginTensorDesc tensor(std::vector<Size> sizes, DataType type, TensorFormat format = TensorFormat::kLINEAR) {
    PluginTensorDesc made{};
    made.dims = dims(std::move(sizes));
    made.type = type;
    made.format = format;
    return made;
}

#if NV_TENSORRT_MAJOR >= 10

class Finder final : public ILoggerFinder {
public:
    ~Finder() override {}
    ILogger* findLogger() override { return &logger_; }

private:
    Logger logger_;
};

struct Plugin {
    std::unique_ptr<IPluginV3> plugin;
    IPluginV3OneCore* core;
    IPluginV3OneBuild* build;
    IPluginV3OneRuntime* runtime;

    explicit Plugin(IPluginV3* made) : plugin(made) {
        core = static_cast<IPluginV3OneCore*>(made->getCapabilityInterface(PluginCapabilityType::kCORE));
        build = static_cast<IPluginV3OneBuild*>(made->getCapabilityInterface(PluginCapabilityType::kBUILD));
        runtime = static_cast<IPluginV3OneRuntime*>(made->getCapabilityInterface(PluginCapabilityType::kRUNTIME));
        CHECK(std::string(core->getInterfaceInfo().kind) == "PLUGIN_V3ONE_CORE");
        CHECK(std::string(build->getInterfaceInfo().kind) == "PLUGIN_V3ONE_BUILD");
        CHECK(std::string(runtime->getInterfaceInfo().kind) == "PLUGIN_V3ONE_RUNTIME");
    }

    std::string name() const { return core->getPluginName(); }
    int32_t output_count() const { return build->getNbOutputs(); }
    Plugin clone() const { return Plugin(plugin->clone()); }

    std::vector<std::string> output_shapes(const std::vector<DimsExprs>& inputs, Builder& builder) {
        std::vector<DimsExprs> shapes(static_cast<size_t>(output_count()));
        const int32_t status = build->getOutputShapes(inputs.data(), static_cast<int32_t>(inputs.size()), nullptr, 0,
                                                      shapes.data(), output_count(), builder);
        std::vector<std::string> made;
        if (status == 0)
            for (const DimsExprs& shape : shapes) made.push_back(text(shape));
        return made;
    }

    std::vector<DataType> output_types(const std::vector<DataType>& inputs) {
        std::vector<DataType> types(static_cast<size_t>(output_count()));
        CHECK(build->getOutputDataTypes(types.data(), output_count(), inputs.data(),
                                        static_cast<int32_t>(inputs.size())) == 0);
        return types;
    }

    bool supports(int32_t position, const std::vector<PluginTensorDesc>& tensors, int32_t inputs) {
        std::vector<DynamicPluginTensorDesc> dynamic(tensors.size());
        for (size_t index = 0; index < tensors.size(); ++index) dynamic[index].desc = tensors[index];
        return build->supportsFormatCombination(position, dynamic.data(), inputs, output_count());
    }

    size_t workspace(const std::vector<PluginTensorDesc>& inputs) {
        std::vector<DynamicPluginTensorDesc> dynamic(inputs.size());
        for (size_t index = 0; index < inputs.size(); ++index) {
            dynamic[index].desc = inputs[index];
            dynamic[index].max = inputs[index].dims;
        }
        return build->getWorkspaceSize(dynamic.data(), static_cast<int32_t>(inputs.size()), nullptr, output_count());
    }

    int32_t run(const std::vector<PluginTensorDesc>& inputs, const std::vector<const void*>& given,
                const std::vector<void*>& made, void* workspace) {
        const std::unique_ptr<IPluginV3> attached(runtime->attachToContext(nullptr));
        Plugin own(attached->clone());
        const int32_t status = own.runtime->onShapeChange(inputs.data(), static_cast<int32_t>(inputs.size()), nullptr,
                                                          output_count());
        if (status != 0) return status;
        return own.runtime->enqueue(inputs.data(), nullptr, given.data(), made.data(), workspace, nullptr);
    }
};

struct Library {
    IPluginCreatorInterface* const* creators;
    int32_t count = 0;
    Finder finder;

    explicit Library(void* handle) {
        using Get = IPluginCreatorInterface* const* (*)(int32_t&);
        using Set = void (*)(ILoggerFinder*);
        const auto get = reinterpret_cast<Get>(dlsym(handle, "getCreators"));
        const auto set = reinterpret_cast<Set>(dlsym(handle, "setLoggerFinder"));
        REQUIRE(get != nullptr && set != nullptr);
        set(&finder);
        creators = get(count);
        for (int32_t index = 0; index < count; ++index)
            CHECK(std::string(creators[index]->getInterfaceInfo().kind) == "PLUGIN CREATOR_V3ONE");
    }

    IPluginCreatorV3One* creator(const std::string& name) {
        for (int32_t index = 0; index < count; ++index) {
            auto* creator = static_cast<IPluginCreatorV3One*>(creators[index]);
            if (creator->getPluginName() == name) return creator;
        }
        return nullptr;
    }

    IPluginV3* make(const std::string& name, const Fields& fields, TensorRTPhase phase = TensorRTPhase::kBUILD) {
        const PluginFieldCollection given = collection_of(fields);
        return creator(name)->createPlugin("node", &given, phase);
    }

    // As an engine stores a plugin and makes it anew.
    Plugin reloaded(Plugin& plugin) {
        const PluginFieldCollection* fields = plugin.runtime->getFieldsToSerialize();
        return Plugin(creator(plugin.name())->createPlugin("node", fields, TensorRTPhase::kRUNTIME));
    }
};

#else

struct Plugin {
    struct Destroy {
        void operator()(IPluginV2DynamicExt* plugin) const { plugin->destroy(); }
    };
    std::unique_ptr<IPluginV2DynamicExt, Destroy> plugin;

    explicit Plugin(IPluginV2* made) : plugin(static_cast<IPluginV2DynamicExt*>(made)) {
        CHECK(plugin->initialize() == 0);
    }

    std::string name() const { return plugin->getPluginType(); }
    int32_t output_count() const { return plugin->getNbOutputs(); }
    Plugin clone() const { return Plugin(plugin->clone()); }

    std::vector<std::string> output_shapes(const std::vector<DimsExprs>& inputs, Builder& builder) {
        std::vector<std::string> made;
        for (int32_t output = 0; output < output_count(); ++output) {
            const DimsExprs shape = plugin->getOutputDimensions(output, inputs.data(),
                                                                static_cast<int32_t>(inputs.size()), builder);
            if (shape.nbDims < 0) return {};
            made.push_back(text(shape));
        }
        return made;
    }

    std::vector<DataType> output_types(const std::vector<DataType>& inputs) {
        std::vector<DataType> types;
        for (int32_t output = 0; output < output_count(); ++output)
            types.push_back(plugin->getOutputDataType(output, inputs.data(), static_cast<int32_t>(inputs.size())));
        return types;
    }

    bool supports(int32_t position, const std::vector<PluginTensorDesc>& tensors, int32_t inputs) {
        return plugin->supportsFormatCombination(position, tensors.data(), inputs, output_count());
    }

    size_t workspace(const std::vector<PluginTensorDesc>& inputs) {
        return plugin->getWorkspaceSize(inputs.data(), static_cast<int32_t>(inputs.size()), nullptr, output_count());
    }

    int32_t run(const std::vector<PluginTensorDesc>& inputs, const std::vector<const void*>& given,
                const std::vector<void*>& made, void* workspace) {
        return plugin->enqueue(inputs.data(), nullptr, given.data(), made.data(), workspace, nullptr);
    }
};

std::vector<IPluginCreator*> registered;

class Registry final : public IPluginRegistry {
public:
    ~Registry() noexcept override {}
    bool registerCreator(IPluginCreator& creator, const char* const name_space) noexcept override {
        CHECK(std::string(name_space).empty());
        registered.push_back(&creator);
        return true;
    }
    IPluginCreator* const* getPluginCreatorList(int32_t* const) const noexcept override { return nullptr; }
    IPluginCreator* getPluginCreator(const char* const, const char* const, const char* const) noexcept override {
        return nullptr;
    }
    void setErrorRecorder(IErrorRecorder* const) noexcept override {}
    IErrorRecorder* getErrorRecorder() const noexcept override { return nullptr; }
    bool deregisterCreator(const IPluginCreator&) noexcept override { return false; }
#if NV_TENSORRT_MINOR >= 6
    bool isParentSearchEnabled() const override { return false; }
    void setParentSearchEnabled(bool const) override {}
    PluginLibraryHandle loadLibrary(const char*) noexcept override { return nullptr; }
    void deregisterLibrary(PluginLibraryHandle) noexcept override {}
#endif
};

struct Library {
    IPluginCreator* const* creators;
    int32_t count = 0;

    explicit Library(void* handle) {
        using Get = IPluginCreator* const* (*)(int32_t&);
        const auto get = reinterpret_cast<Get>(dlsym(handle, "getPluginCreators"));
        REQUIRE(get != nullptr);
        creators = get(count);
        // From 8.6 on TensorRT registers what it opens.
        const int32_t by_itself = NV_TENSORRT_MINOR >= 6 ? 0 : count;
        CHECK((registered == std::vector<IPluginCreator*>(creators, creators + by_itself)));
    }

    IPluginCreator* creator(const std::string& name) {
        for (int32_t index = 0; index < count; ++index)
            if (creators[index]->getPluginName() == name) return creators[index];
        return nullptr;
    }

    IPluginV2* make(const std::string& name, const Fields& fields) {
        const PluginFieldCollection given = collection_of(fields);
        return creator(name)->createPlugin("node", &given);
    }

    Plugin reloaded(Plugin& plugin) {
        std::vector<char> stored(plugin.plugin->getSerializationSize());
        plugin.plugin->serialize(stored.data());
        auto* from = creator(plugin.name());
        CHECK(from->deserializePlugin("node", stored.data(), stored.size() - 1) == nullptr);
        CHECK(from->deserializePlugin("node", nullptr, 0) == nullptr);
        messages.clear();
        return Plugin(from->deserializePlugin("node", stored.data(), stored.size()));
    }
};

}  // namespace

// What libnvinfer would export.
extern "C" __attribute__((visibility("default"))) IPluginRegistry* getPluginRegistry() noexcept {
    static Registry registry;
    return &registry;
}

extern "C" __attribute__((visibility("default"))) ILogger* getLogger() noexcept {
    static Logger logger;
    return &logger;
}

namespace {

#endif

// ---- Helpers for checks ---------------------------------------------------------------------------------------------

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// A plugin is refused, and its reason is in the log.
void check_refused(Library& library, const char* name, const Fields& fields, const char* reason) {
    messages.clear();
    CHECK(library.make(name, fields) == nullptr);
    CHECK(contains(last_message(), reason));
}

DimsExprs shape_of(std::vector<const IDimensionExpr*> sizes) {
    DimsExprs made{};
    made.nbDims = static_cast<int32_t>(sizes.size());
    for (size_t axis = 0; axis < sizes.size(); ++axis) made.d[axis] = sizes[axis];
    return made;
}

const DataType TYPES[] = {DataType::kFLOAT, DataType::kHALF, DataType::kINT8, DataType::kINT32, DataType::kBOOL};
constexpr int FORMATS = 12;  // of TensorFormat, from kLINEAR on

// Every type and layout of each tensor, behind every choice that was taken before it: how many choices of all are taken.
int accepted(Plugin& plugin, std::vector<PluginTensorDesc> before, int32_t inputs,
             bool (*sound)(const std::vector<PluginTensorDesc>&)) {
    const auto position = static_cast<int32_t>(before.size());
    if (position == inputs + plugin.output_count()) {
        CHECK(sound(before));
        return 1;
    }
    int count = 0;
    for (DataType type : TYPES) {
        for (int format = 0; format < FORMATS; ++format) {
            std::vector<PluginTensorDesc> tensors = before;
            tensors.push_back(tensor({1, 1, 1}, type, static_cast<TensorFormat>(format)));
            // What stands behind may hold anything.
            std::vector<PluginTensorDesc> all = tensors;
            while (static_cast<int32_t>(all.size()) < inputs + plugin.output_count())
                all.push_back(tensor({}, DataType::kBOOL, TensorFormat::kDHWC8));
            if (plugin.supports(position, all, inputs)) count += accepted(plugin, tensors, inputs, sound);
        }
    }
    return count;
}

int summary() {
    std::printf("TensorRT %d.%d.%d's interfaces: %d checks, %d failed\n", NV_TENSORRT_MAJOR, NV_TENSORRT_MINOR,
                NV_TENSORRT_PATCH, checks, failures);
    return failures > 0;
}

void* opened(int argc, char** argv) {
    void* handle = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : nullptr;
    if (handle != nullptr) return handle;
    std::printf("%s\n", argc == 2 ? dlerror() : "give the library");
    std::exit(2);
}

}  // namespace
