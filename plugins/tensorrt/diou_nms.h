// DIoU-NMS for TensorRT, whatever interface it asks through: see plugin_v3.h and plugin_v2.h.
#pragma once

#include <NvInferRuntime.h>

#include <string>

#include "tensorrt/fields.h"

namespace edgedet {
namespace tensorrt {

// boxes `[B, N, 4]` and scores `[B, N, C]` become num_dets `[B, 1]`, det_boxes `[B, K, 4]`, det_scores `[B, K]` and
// det_classes `[B, K]`. Float32 or float16, boxes and scores each for themselves; counts and classes are int32.
struct DIoUNMS {
    static constexpr const char* NAME = "EdgeDetDIoUNMS";
    static constexpr int32_t INPUTS = 2, OUTPUTS = 4;

    struct Attributes {
        float score_threshold, iou_threshold, beta;
        int32_t pre_nms_top_k, max_detections, class_agnostic;
    };

    static const Table& table();
    static std::string fault_of(const Attributes& attributes);

    // By position: inputs, then outputs.
    static bool takes(const Attributes& attributes, int32_t position, nvinfer1::DataType type,
                      nvinfer1::TensorFormat format);
    static nvinfer1::DataType output_type(int32_t output, const nvinfer1::DataType* inputs);

    // False where the inputs' ranks are not those above.
    static bool output_shape(const Attributes& attributes, int32_t output, const nvinfer1::DimsExprs* inputs,
                             nvinfer1::IExprBuilder& builder, nvinfer1::DimsExprs& shape);

    // What is wrong with shapes that are known, or "".
    static std::string fault_of(const Attributes& attributes, const nvinfer1::Dims* inputs);

    // For shapes without a fault.
    static size_t workspace_bytes(const Attributes& attributes, const nvinfer1::Dims* inputs);
    static cudaError_t prepare(const Attributes&) { return cudaSuccess; }
    static cudaError_t run(const Attributes& attributes, const nvinfer1::PluginTensorDesc* inputs,
                           const void* const* given, void* const* made, void* workspace, cudaStream_t stream);
};

}  // namespace tensorrt
}  // namespace edgedet
