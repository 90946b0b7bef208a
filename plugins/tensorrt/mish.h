// Mish for TensorRT, whatever interface it asks through: see plugin_v3.h and plugin_v2.h.
#pragma once

#include <NvInferRuntime.h>

#include <string>

#include "tensorrt/fields.h"

namespace edgedet {
namespace tensorrt {

// One tensor of float32 or float16, in any layout that keeps channels together; or, where both scales are given, INT8
// on both sides, in the place of a dequantizer, Mish and a quantizer.
struct Mish {
    static constexpr const char* NAME = "EdgeDetMish";
    static constexpr int32_t INPUTS = 1, OUTPUTS = 1;

    struct Attributes {
        float input_scale, output_scale;
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
    static cudaError_t prepare(const Attributes&) { return cudaSuccess; }
    static cudaError_t run(const Attributes& attributes, const nvinfer1::PluginTensorDesc* inputs,
                           const void* const* given, void* const* made, void* workspace, cudaStream_t stream);
};

}  // namespace tensorrt
}  // namespace edgedet
