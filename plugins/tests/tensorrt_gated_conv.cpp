// Drives the plugin for the gated convolution as TensorRT would. The library's kernels run on the host.
//   tensorrt_gated_conv_test LIBRARY
#include "tensorrt_doubles.h"

#include <cmath>
#include <limits>
#include <random>

#include "cpu/gated_conv.h"

namespace {

constexpr const char* NAME = "EdgeDetGatedConv";

// A layer as a node's attributes, with scales that are powers of two: nothing is rounded on the way.
struct Attributes {
    int32_t step = 16, lowest = 0, highest = 255, tile = 4, group = 1;
    float x_scale = 0.125F;
    std::string granularity = "tile";
    std::vector<int32_t> strides{1, 1}, pads{0, 0, 0, 0}, weights_shape;
    std::vector<int8_t> weights;
    std::vector<float> weight_scale, threshold, sign, bias;

    Attributes(int32_t outputs, int32_t inputs, int32_t side = 1) : weights_shape{outputs, inputs, side, side} {
        std::mt19937 dice(3);
        weights.resize(static_cast<size_t>(outputs * inputs * side * side));
        for (int8_t& weight : weights) weight = static_cast<int8_t>(dice() % 255 - 127);
        for (int32_t channel = 0; channel < outputs; ++channel) {
            weight_scale.push_back(channel % 2 == 0 ? 0.25F : 0.5F);
            threshold.push_back(channel == 1 ? 3000.5F : std::numeric_limits<float>::infinity());
            sign.push_back(1);
            bias.push_back(static_cast<float>(channel));
        }
    }

    // They point into this.
    Fields fields() const {
        const auto FLOAT = PluginFieldType::kFLOAT32, INT = PluginFieldType::kINT32;
        const auto length = [](size_t size) { return static_cast<int32_t>(size); };
        return {{"step", &step, INT, 1},
                {"lowest", &lowest, INT, 1},
                {"highest", &highest, INT, 1},
                {"tile", &tile, INT, 1},
                {"group", &group, INT, 1},
                {"x_scale", &x_scale, FLOAT, 1},
                {"granularity", granularity.c_str(), PluginFieldType::kCHAR, length(granularity.size())},
                {"strides", strides.data(), INT, length(strides.size())},
                {"pads", pads.data(), INT, length(pads.size())},
                {"weights_shape", weights_shape.data(), INT, length(weights_shape.size())},
                {"weights", weights.data(), PluginFieldType::kINT8, length(weights.size())},
                {"weight_scale", weight_scale.data(), FLOAT, length(weight_scale.size())},
                {"threshold", threshold.data(), FLOAT, length(threshold.size())},
                {"sign", sign.data(), FLOAT, length(sign.size())},
                {"bias", bias.data(), FLOAT, length(bias.size())}};
    }

    edgedet::cpu::GatedConvolution<float> on_cpu() const {
        const auto of = granularity == "element" ? edgedet::Granularity::element
                        : granularity == "pixel" ? edgedet::Granularity::pixel
                                                 : edgedet::Granularity::tile;
        const edgedet::GatedConv gate{step,    lowest,  highest, of,      tile,    strides[0], strides[1],
                                      pads[0], pads[1], pads[2], pads[3], group};
        return {gate,
                {x_scale, 0},
                {},
                {weights.data(), weights_shape[0], weights_shape[1], weights_shape[2], weights_shape[3],
                 weight_scale.data(), threshold.data(), sign.data(), bias.data()}};
    }
};

void check_bad_fields(Library& library) {
    const auto refused = [&](const char* reason, void (*change)(Attributes&)) {
        Attributes changed(6, 3);
        change(changed);
        check_refused(library, NAME, changed.fields(), reason);
    };
    refused("step: a power of 2", [](Attributes& a) { a.step = 12; });
    refused("highest: less than 128 times", [](Attributes& a) { a.highest = 5000; });
    refused("tile: from 1", [](Attributes& a) { a.tile = 0; });
    refused("granularity: element, pixel or tile", [](Attributes& a) { a.granularity = "row"; });
    refused("two strides", [](Attributes& a) { a.strides = {1}; });
    refused("strides: two, from 1", [](Attributes& a) { a.strides = {0, 1}; });
    refused("four pads", [](Attributes& a) { a.pads = {1, 1}; });
    refused("weights [O, C / group, kh, kw]", [](Attributes& a) { a.weights_shape = {6, 3}; });
    refused("weights of 1 to 65536", [](Attributes& a) { a.weights_shape[1] = -3; });
    refused("weights of at most 65536 values", [](Attributes& a) { a.weights_shape[1] = a.weights_shape[2] = 65536; });
    refused("as many weights as weights_shape says", [](Attributes& a) { a.weights.pop_back(); });
    refused("sign and bias of 6 values", [](Attributes& a) { a.bias.push_back(0); });
    refused("sign and bias of 6 values", [](Attributes& a) { a.threshold.resize(1); });
    refused("as many output channels for each group", [](Attributes& a) { a.group = 4; });
    refused("x_scale above 0", [](Attributes& a) { a.x_scale = -1; });
    refused("weight_scale above 0", [](Attributes& a) { a.weight_scale[2] = std::nanf(""); });

    const Attributes whole(6, 3);
    const auto with = [&](const char* name, const void* data, PluginFieldType type, int32_t length) {
        Fields fields = whole.fields();
        for (PluginField& field : fields)
            if (std::string(field.name) == name) field = PluginField(field.name, data, type, length);
        return fields;
    };
    const float number = 1;
    const int32_t integer = 1;
    check_refused(library, NAME, with("weights", &number, PluginFieldType::kFLOAT32, 1), "weights are no int8");
    check_refused(library, NAME, with("bias", &integer, PluginFieldType::kINT32, 1), "bias are no float32");
    check_refused(library, NAME, with("bias", &number, PluginFieldType::kFLOAT32, -1), "bias are no float32");
    check_refused(library, NAME, with("bias", nullptr, PluginFieldType::kFLOAT32, 6), "bias are no float32");
    check_refused(library, NAME, with("x_scale", &integer, PluginFieldType::kINT32, 1), "x_scale is not one float32");
    check_refused(library, NAME, with("granularity", &integer, PluginFieldType::kINT32, 1), "granularity are no text");
    Fields fields = whole.fields();
    fields.pop_back();
    check_refused(library, NAME, fields, "there is no bias");
    // Some parsers give the end of a text too.
    CHECK(Plugin(library.make(NAME, with("granularity", "tile", PluginFieldType::kCHAR, 5))).output_count() == 1);
}

void check_shapes_and_types(Library& library) {
    Builder builder;
    const auto *batch = builder.named("B"), *channels = builder.named("C"), *height = builder.named("H");
    const auto* width = builder.named("W");
    const auto shapes = [&](Plugin& plugin, std::vector<const IDimensionExpr*> x) {
        return plugin.output_shapes({shape_of(std::move(x))}, builder);
    };
    Attributes attributes(6, 3);
    Plugin plain(library.make(NAME, attributes.fields()));
    CHECK((shapes(plain, {batch, channels, height, width}) == std::vector<std::string>{"B 6 H W"}));
    CHECK(shapes(plain, {batch, channels, height}).empty());
    CHECK((plain.output_types({DataType::kHALF}) == std::vector<DataType>{DataType::kHALF}));
    Attributes other(6, 3, 3);
    other.strides = {2, 1};
    other.pads = {1, 0, 1, 1};
    Plugin strided(library.make(NAME, other.fields()));
    CHECK((shapes(strided, {batch, channels, height, width}) ==
           std::vector<std::string>{"B 6 (((H + -1) / 2) + 1) ((W + -2) + 1)"}));
    CHECK(accepted(plain, {}, 1, [](const std::vector<PluginTensorDesc>& t) {
              return t[0].type == t[1].type && t[0].format == t[1].format && t[0].format == TensorFormat::kLINEAR;
          }) == 2);
    messages.clear();
}

// The values of images of codes, and what the CPU kernel makes of them.
struct Scene {
    int64_t images, height, width;
    std::vector<float> x, y;

    Scene(const Attributes& attributes, int64_t images_, int64_t height_, int64_t width_, unsigned seed)
        : images(images_), height(height_), width(width_) {
        const auto convolution = attributes.on_cpu();
        std::mt19937 dice(seed);
        const int64_t pixels = height * width, channels = convolution.channels();
        for (int64_t i = 0; i < images * channels * pixels; ++i)
            x.push_back(static_cast<float>(dice() % 256) * attributes.x_scale);
        const int64_t result = convolution.outputs() * convolution.result_height(height) * convolution.result_width(width);
        y.resize(static_cast<size_t>(images * result));
        for (int64_t image = 0; image < images; ++image)
            for (int64_t band = 0; band < convolution.bands(height, width); ++band)
                convolution.run(x.data() + image * channels * pixels, height, width, band, y.data() + image * result);
    }
};

void check_values(Plugin& plugin, const Attributes& attributes, unsigned seed) {
    const Scene scene(attributes, 2, 13, 9, seed);
    const std::vector<PluginTensorDesc> inputs{
        tensor({2, attributes.weights_shape[1] * attributes.group, 13, 9}, DataType::kFLOAT)};
    void* workspace = std::aligned_alloc(256, (plugin.workspace(inputs) / 256 + 1) * 256);
    std::vector<float> found(scene.y.size(), -7);
    CHECK(plugin.run(inputs, {scene.x.data()}, {found.data()}, workspace) == 0);
    std::free(workspace);
    CHECK(found == scene.y);
}

void check_results(Library& library) {
    for (const char* granularity : {"element", "pixel", "tile"}) {
        Attributes one(20, 35), other(6, 4, 3);
        one.granularity = other.granularity = granularity;
        other.strides = {2, 2};
        other.pads = {1, 1, 1, 1};
        other.group = 2;
        other.threshold[0] = -200;
        Plugin first(library.make(NAME, one.fields())), second(library.make(NAME, other.fields()));
        check_values(first, one, 0);
        check_values(second, other, 1);
        check_values(first, one, 2);  // instances do not meet
        Plugin copy = second.clone();
        check_values(copy, other, 3);
        Plugin again = library.reloaded(first);
        check_values(again, one, 4);
        Plugin copy_of_that = library.reloaded(copy).clone();
        check_values(copy_of_that, other, 5);
        one.threshold[3] = -std::numeric_limits<float>::infinity();
        Plugin open(library.make(NAME, one.fields()));
        check_values(open, one, 6);
    }
}

void check_images_that_do_not_fit(Library& library) {
    Attributes attributes(6, 3, 3);
    Plugin plugin(library.make(NAME, attributes.fields()));
    const auto refused = [&](std::vector<Size> sizes, const char* reason) {
        messages.clear();
        CHECK(plugin.run({tensor(std::move(sizes), DataType::kFLOAT)}, {nullptr}, {nullptr}, nullptr) != 0);
        CHECK(contains(last_message(), reason));
    };
    refused({1, 4, 8, 8}, "it takes x [B, 3, H, W]");
    refused({1, 3, 8}, "it takes x [B, 3, H, W]");
    refused({1, 3, 2, 8}, "it takes images that the weights fit into");
    // The workspace of the largest shapes is enough for any smaller one.
    size_t before = 0;
    for (Size side : {3, 5, 40, 80}) {
        const size_t bytes = plugin.workspace({tensor({2, 3, side, side}, DataType::kFLOAT)});
        CHECK(bytes >= before);
        before = bytes;
    }
    CHECK(before > 0);
}

}  // namespace

int main(int argc, char** argv) {
    Library library(opened(argc, argv));
    check_bad_fields(library);
    check_shapes_and_types(library);
    check_results(library);
    check_images_that_do_not_fit(library);
    return summary();
}
