// Drives a library of plugins as TensorRT would, through the interfaces of the headers that this is compiled with; no
// part of TensorRT is linked. The library's kernels run on the host.
//   tensorrt_plugins_test LIBRARY
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

#include "cpu/diou_nms.h"
#include "cpu/mish.h"

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
        const IDimensionExpr* operation(DimensionOperation, const IDimensionExpr&,
                                        const IDimensionExpr&) noexcept override {
            return nullptr;
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

// ---- Checks ---------------------------------------------------------------------------------------------------------

struct Attributes {
    float score_threshold = 0.25F, iou_threshold = 0.5F, beta = 1.0F;
    int32_t pre_nms_top_k = 200, max_detections = 60, class_agnostic = 0;

    Fields fields() const {
        return {{"score_threshold", &score_threshold, PluginFieldType::kFLOAT32, 1},
                {"iou_threshold", &iou_threshold, PluginFieldType::kFLOAT32, 1},
                {"beta", &beta, PluginFieldType::kFLOAT32, 1},
                {"pre_nms_top_k", &pre_nms_top_k, PluginFieldType::kINT32, 1},
                {"max_detections", &max_detections, PluginFieldType::kINT32, 1},
                {"class_agnostic", &class_agnostic, PluginFieldType::kINT32, 1}};
    }
};

constexpr const char *NMS = "EdgeDetDIoUNMS", *MISH = "EdgeDetMish";

void check_creators(Library& library) {
    const std::map<std::string, std::set<std::string>> expected{
        {NMS, {"score_threshold", "iou_threshold", "beta", "pre_nms_top_k", "max_detections", "class_agnostic"}},
        {MISH, {"input_scale", "output_scale"}}};
    CHECK(library.count == static_cast<int32_t>(expected.size()));
    for (const auto& entry : expected) {
        auto* creator = library.creator(entry.first);
        REQUIRE(creator != nullptr);
        CHECK(std::string(creator->getPluginVersion()) == "1");
        CHECK(std::string(creator->getPluginNamespace()).empty());
        std::set<std::string> names;
        const PluginFieldCollection* fields = creator->getFieldNames();
        for (int32_t index = 0; index < fields->nbFields; ++index) {
            names.insert(fields->fields[index].name);
            CHECK(fields->fields[index].length == 1);
        }
        CHECK(names == entry.second);
    }
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// A plugin is refused, and where the log is ours its reason is in it.
void check_refused(Library& library, const char* name, const Fields& fields, const char* reason) {
    messages.clear();
    CHECK(library.make(name, fields) == nullptr);
    CHECK(contains(last_message(), reason));
}

void check_bad_fields(Library& library) {
    const auto with = [](const char* name, const void* data, PluginFieldType type, int32_t length) {
        static Attributes attributes;
        Fields fields = attributes.fields();
        for (PluginField& field : fields)
            if (std::string(field.name) == name) field = PluginField(name, data, type, length);
        return fields;
    };
    const float two = 2, zero = 0, nan = std::nanf("");
    const int32_t none = 0;
    const auto FLOAT = PluginFieldType::kFLOAT32, INT = PluginFieldType::kINT32;
    check_refused(library, NMS, with("score_threshold", &two, FLOAT, 1), "score_threshold from 0 to 1");
    check_refused(library, NMS, with("score_threshold", &nan, FLOAT, 1), "score_threshold from 0 to 1");
    check_refused(library, NMS, with("iou_threshold", &two, FLOAT, 1), "iou_threshold from 0 to 1");
    check_refused(library, NMS, with("beta", &zero, FLOAT, 1), "beta above 0");
    check_refused(library, NMS, with("pre_nms_top_k", &none, INT, 1), "pre_nms_top_k of 1 or more");
    check_refused(library, NMS, with("max_detections", &none, INT, 1), "max_detections of 1 or more");
    check_refused(library, NMS, with("beta", &none, INT, 1), "beta is not one float32");
    check_refused(library, NMS, with("pre_nms_top_k", &two, FLOAT, 1), "pre_nms_top_k is not one int32");
    check_refused(library, NMS, with("beta", &two, FLOAT, 2), "beta is not one float32");
    check_refused(library, NMS, with("beta", nullptr, FLOAT, 1), "beta is not one float32");
    check_refused(library, NMS, {}, "there is no score_threshold");
    check_refused(library, MISH, {{"input_scale", &two, FLOAT, 1}}, "above 0, or neither");
    const float below = -1;
    check_refused(library, MISH, {{"input_scale", &two, FLOAT, 1}, {"output_scale", &below, FLOAT, 1}}, "above 0");
    auto* creator = library.creator(NMS);
#if NV_TENSORRT_MAJOR >= 10
    CHECK(creator->createPlugin("node", nullptr, TensorRTPhase::kBUILD) == nullptr);
#else
    CHECK(creator->createPlugin("node", nullptr) == nullptr);
#endif
    messages.clear();
}

void check_shapes(Library& library) {
    Builder builder;
    const auto shape = [&](std::vector<const IDimensionExpr*> sizes) {
        DimsExprs made{};
        made.nbDims = static_cast<int32_t>(sizes.size());
        for (size_t axis = 0; axis < sizes.size(); ++axis) made.d[axis] = sizes[axis];
        return made;
    };
    const auto *batch = builder.named("B"), *boxes = builder.named("N"), *classes = builder.named("C");
    const auto* four = builder.named("4");
    Attributes attributes;
    Plugin nms(library.make(NMS, attributes.fields()));
    CHECK(nms.output_count() == 4);
    const auto shapes = nms.output_shapes({shape({batch, boxes, four}), shape({batch, boxes, classes})}, builder);
    CHECK((shapes == std::vector<std::string>{"B 1", "B 60 4", "B 60", "B 60"}));
    CHECK(nms.output_shapes({shape({batch, boxes}), shape({batch, boxes, classes})}, builder).empty());
    CHECK(nms.output_shapes({shape({batch, boxes, four}), shape({batch})}, builder).empty());
    CHECK(nms.output_shapes({shape({batch, boxes, four})}, builder).empty());
    messages.clear();
    const auto HALF = DataType::kHALF, FLOAT = DataType::kFLOAT, INT = DataType::kINT32;
    CHECK((nms.output_types({HALF, FLOAT}) == std::vector<DataType>{INT, HALF, FLOAT, INT}));
    CHECK((nms.output_types({FLOAT, HALF}) == std::vector<DataType>{INT, FLOAT, HALF, INT}));
    Plugin mish(library.make(MISH, {}));
    CHECK((mish.output_shapes({shape({batch, classes, boxes})}, builder) == std::vector<std::string>{"B C N"}));
    CHECK((mish.output_types({HALF}) == std::vector<DataType>{HALF}));
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

void check_formats(Library& library) {
    Attributes attributes;
    Plugin nms(library.make(NMS, attributes.fields()));
    const auto nms_is_sound = [](const std::vector<PluginTensorDesc>& t) {
        for (const PluginTensorDesc& each : t)
            if (each.format != TensorFormat::kLINEAR) return false;
        const auto is_float = [](DataType type) { return type == DataType::kFLOAT || type == DataType::kHALF; };
        return is_float(t[0].type) && is_float(t[1].type) && t[2].type == DataType::kINT32 &&
               t[3].type == t[0].type && t[4].type == t[1].type && t[5].type == DataType::kINT32;
    };
    CHECK(accepted(nms, {}, 2, nms_is_sound) == 4);  // boxes and scores of two types each
    const auto alike = [](const std::vector<PluginTensorDesc>& t) {
        return t[0].type == t[1].type && t[0].format == t[1].format;
    };
    Plugin mish(library.make(MISH, {}));
    CHECK(accepted(mish, {}, 1, alike) == 2 + 6);  // layouts of float32, of float16
    const float scale = 0.1F;
    Plugin quantized(library.make(MISH, {{"input_scale", &scale, PluginFieldType::kFLOAT32, 1},
                                         {"output_scale", &scale, PluginFieldType::kFLOAT32, 1}}));
    CHECK(accepted(quantized, {}, 1, alike) == 3);
    CHECK(!mish.supports(-1, {tensor({1}, DataType::kFLOAT), tensor({1}, DataType::kFLOAT)}, 1));
    CHECK(!mish.supports(2, {tensor({1}, DataType::kFLOAT), tensor({1}, DataType::kFLOAT)}, 1));
    CHECK(!nms.supports(0, std::vector<PluginTensorDesc>(5, tensor({1}, DataType::kFLOAT)), 1));
}

struct Scene {
    static constexpr int64_t IMAGES = 2, BOXES = 300, CLASSES = 3;
    std::vector<edgedet::Box> boxes;
    std::vector<float> scores;

    Scene() {
        std::mt19937 dice(0);
        std::uniform_real_distribution<float> unit;
        for (int64_t index = 0; index < IMAGES * BOXES; ++index) {
            const float x = unit(dice) * 100, y = unit(dice) * 100;
            boxes.push_back({x, y, x + unit(dice) * 60, y + unit(dice) * 60});
        }
        for (int64_t index = 0; index < IMAGES * BOXES * CLASSES; ++index) scores.push_back(unit(dice));
    }
};

// Holds what a plugin makes of a scene to the CPU kernel.
void check_detections(Plugin& plugin, const Attributes& attributes) {
    const Scene scene;
    const std::vector<PluginTensorDesc> inputs{tensor({Scene::IMAGES, Scene::BOXES, 4}, DataType::kFLOAT),
                                               tensor({Scene::IMAGES, Scene::BOXES, Scene::CLASSES}, DataType::kFLOAT)};
    const size_t bytes = plugin.workspace(inputs);
    CHECK(bytes > 0);
    void* workspace = std::aligned_alloc(256, (bytes / 256 + 1) * 256);
    const auto rows = static_cast<size_t>(attributes.max_detections);
    std::vector<int32_t> num_dets(Scene::IMAGES, -7), det_classes(Scene::IMAGES * rows, -7);
    std::vector<edgedet::Box> det_boxes(Scene::IMAGES * rows);
    std::vector<float> det_scores(Scene::IMAGES * rows);
    CHECK(plugin.run(inputs, {scene.boxes.data(), scene.scores.data()},
                     {num_dets.data(), det_boxes.data(), det_scores.data(), det_classes.data()}, workspace) == 0);
    std::free(workspace);
    for (int64_t image = 0; image < Scene::IMAGES; ++image) {
        const edgedet::Box* boxes = scene.boxes.data() + image * Scene::BOXES;
        const float* scores = scene.scores.data() + image * Scene::BOXES * Scene::CLASSES;
        const auto kept = edgedet::cpu::diou_nms(
            boxes, scores, Scene::BOXES, Scene::CLASSES,
            {attributes.score_threshold, attributes.iou_threshold, attributes.beta, attributes.pre_nms_top_k,
             attributes.max_detections, attributes.class_agnostic != 0});
        CHECK(kept.size() > 5);
        REQUIRE(num_dets[static_cast<size_t>(image)] == static_cast<int32_t>(kept.size()));
        for (size_t place = 0; place < rows; ++place) {
            const size_t row = static_cast<size_t>(image) * rows + place;
            const bool found = place < kept.size();
            CHECK(det_scores[row] == (found ? scores[kept[place]] : 0));
            CHECK(det_classes[row] == (found ? static_cast<int32_t>(kept[place] % Scene::CLASSES) : -1));
            CHECK(det_boxes[row].x1 == (found ? boxes[kept[place] / Scene::CLASSES].x1 : 0));
            CHECK(det_boxes[row].y2 == (found ? boxes[kept[place] / Scene::CLASSES].y2 : 0));
        }
    }
}

void check_nms(Library& library) {
    Attributes one, other;
    other.class_agnostic = 1;
    other.iou_threshold = 0.2F;
    other.beta = 0.6F;
    other.max_detections = 25;
    other.pre_nms_top_k = 77;
    Plugin first(library.make(NMS, one.fields())), second(library.make(NMS, other.fields()));
    check_detections(first, one);
    check_detections(second, other);
    check_detections(first, one);  // instances do not meet
    Plugin copy = second.clone();
    check_detections(copy, other);
    Plugin again = library.reloaded(second);
    check_detections(again, other);
    Plugin copy_of_that = library.reloaded(copy).clone();
    check_detections(copy_of_that, other);

    const auto FLOAT = DataType::kFLOAT;
    CHECK(first.run({tensor({1, 5, 3}, FLOAT), tensor({1, 5, 2}, FLOAT)}, {nullptr, nullptr}, {}, nullptr) != 0);
    CHECK(first.run({tensor({1, 5, 4}, FLOAT), tensor({1, 6, 2}, FLOAT)}, {nullptr, nullptr}, {}, nullptr) != 0);
    other.pre_nms_top_k = 20000;
    Plugin large(library.make(NMS, other.fields()));
    CHECK(large.run({tensor({1, 20000, 4}, FLOAT), tensor({1, 20000, 2}, FLOAT)}, {nullptr, nullptr}, {}, nullptr) != 0);
    CHECK(contains(last_message(), "pre_nms_top_k of 16384 or less"));
    // The workspace of the largest shapes is enough for any smaller one.
    size_t before = 0;
    for (Size boxes : {0, 1, 31, 33, 500, 8400}) {
        const size_t bytes = second.workspace({tensor({2, boxes, 4}, FLOAT), tensor({2, boxes, 3}, FLOAT)});
        CHECK(bytes >= before);
        before = bytes;
    }
}

void check_mish(Library& library) {
    std::vector<float> given(2 * 35 * 8 * 2), expected(given.size());
    std::mt19937 dice(1);
    for (float& value : given) value = std::uniform_real_distribution<float>(-10, 10)(dice);
    edgedet::cpu::mish(given.data(), expected.data(), static_cast<int64_t>(given.size()));
    Plugin mish(library.make(MISH, {}));
    CHECK(mish.workspace({tensor({2, 35, 8, 2}, DataType::kFLOAT)}) == 0);
    // In words of 32 channels 35 are 64.
    const std::map<TensorFormat, size_t> counts{{TensorFormat::kLINEAR, given.size()}, {TensorFormat::kCHW32, 2 * 64 * 16}};
    for (const auto& entry : counts) {
        void* source = std::aligned_alloc(256, 64 * 1024);
        void* result = std::aligned_alloc(256, 64 * 1024);
        auto *from = static_cast<float*>(source), *to = static_cast<float*>(result);
        for (size_t index = 0; index < 16 * 1024; ++index) to[index] = -7, from[index] = given[index % given.size()];
        CHECK(mish.run({tensor({2, 35, 8, 2}, DataType::kFLOAT, entry.first)}, {source}, {result}, nullptr) == 0);
        for (size_t index = 0; index < entry.second; ++index)
            CHECK(std::fabs(to[index] - expected[index % given.size()]) <= 1e-5F);
        CHECK(to[entry.second] == -7);
        std::free(source);
        std::free(result);
    }
    const float input_scale = 0.1F, output_scale = 0.05F;
    Plugin made(library.make(MISH, {{"input_scale", &input_scale, PluginFieldType::kFLOAT32, 1},
                                    {"output_scale", &output_scale, PluginFieldType::kFLOAT32, 1}}));
    Plugin quantized = library.reloaded(made);
    alignas(16) int8_t codes[256], found[256];
    for (int code = 0; code < 256; ++code) codes[code] = static_cast<int8_t>(code - 128);
    CHECK(quantized.run({tensor({1, 256}, DataType::kINT8)}, {codes}, {found}, nullptr) == 0);
    for (int code = 0; code < 256; ++code) {
        const float x = static_cast<float>(code - 128) * input_scale;
        float y = 0;
        edgedet::cpu::mish(&x, &y, 1);
        CHECK(std::fabs(static_cast<float>(found[code]) - std::fmin(y / output_scale, 127.0F)) <= 0.51F);
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    void* handle = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
        std::printf("%s\n", dlerror());
        return 1;
    }
    Library library(handle);
    check_creators(library);
    check_bad_fields(library);
    check_shapes(library);
    check_formats(library);
    check_nms(library);
    check_mish(library);
    std::printf("TensorRT %d.%d.%d's interfaces: %d checks, %d failed\n", NV_TENSORRT_MAJOR, NV_TENSORRT_MINOR,
                NV_TENSORRT_PATCH, checks, failures);
    return failures > 0;
}
