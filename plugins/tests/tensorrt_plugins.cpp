// Drives the plugins for DIoU-NMS and Mish as TensorRT would. The library's kernels run on the host.
//   tensorrt_plugins_test LIBRARY
#include "tensorrt_doubles.h"

#include <cmath>
#include <map>
#include <random>
#include <set>

#include "cpu/diou_nms.h"
#include "cpu/mish.h"

namespace {

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

constexpr const char *NMS = "EdgeDetDIoUNMS", *MISH = "EdgeDetMish", *GATED = "EdgeDetGatedConv";

void check_creators(Library& library) {
    const std::map<std::string, std::set<std::string>> expected{
        {NMS, {"score_threshold", "iou_threshold", "beta", "pre_nms_top_k", "max_detections", "class_agnostic"}},
        {GATED, {"step", "lowest", "highest", "tile", "group", "x_scale", "granularity", "strides", "pads", "weights_shape",
                 "weights", "weight_scale", "threshold", "sign", "bias"}},
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
    const auto shape = shape_of;
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
    Library library(opened(argc, argv));
    check_creators(library);
    check_bad_fields(library);
    check_shapes(library);
    check_formats(library);
    check_nms(library);
    check_mish(library);
    return summary();
}
