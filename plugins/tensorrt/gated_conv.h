// The gated convolution for TensorRT, whatever interface it asks through: see plugin_v3.h and plugin_v2.h.
#pragma once

#include <NvInferRuntime.h>

#include <memory>
#include <string>
#include <vector>

#include "tensorrt/fields.h"

namespace edgedet {
namespace tensorrt {

// x `[B, C, H, W]` becomes `[B, O, H', W']`: both float32 or both float16, linear. All that is constant is attributes,
// tensors among them, as edgedet/graph/lowerings/gated_plugin.py writes them. On the device the weights are shared by
// a plugin and its copies.
struct GatedConv {
    static constexpr const char* NAME = "EdgeDetGatedConv";
    static constexpr int32_t INPUTS = 1, OUTPUTS = 1;

    struct OnDevice;
    struct Attributes {
        int32_t step, lowest, highest, tile, group;
        float x_scale;
        std::string granularity;
        std::vector<int32_t> strides, pads, weights_shape;
        std::vector<int8_t> weights;
        std::vector<float> weight_scale, threshold, sign, bias;
        mutable std::shared_ptr<const OnDevice> on_device;
    };

    static const Table& table();
    static std::string fault_of(const Attributes& attributes);
    static bool takes(const Attributes& attributes, int32_t position, nvinfer1::DataType type,
                      nvinfer1::TensorFormat format);
    static nvinfer1::DataType output_type(int32_t output, const nvinfer1::DataType* inputs);
    static bool output_shape(const Attributes& attributes, int32_t output, const nvinfer1::DimsExprs* inputs,
                             nvinfer1::IExprBuilder& builder, nvinfer1::DimsExprs& shape);
    static std::string fault_of(const Attributes& attributes, const nvinfer1::Dims* inputs);
    static size_t workspace_bytes(const Attributes& attributes, const nvinfer1::Dims* inputs);

    // Copies the weights to the device, unless they are there: what `run` needs, and does where it was not done.
    static cudaError_t prepare(const Attributes& attributes);
    static cudaError_t run(const Attributes& attributes, const nvinfer1::PluginTensorDesc* inputs,
                           const void* const* given, void* const* made, void* workspace, cudaStream_t stream);
};

}  // namespace tensorrt
}  // namespace edgedet
