#include "tensorrt/diou_nms.h"

#include "cuda/diou_nms.h"

namespace edgedet {
namespace tensorrt {
namespace {

enum Position { BOXES, SCORES, NUM_DETS, DET_BOXES, DET_SCORES, DET_CLASSES };

edgedet::DIoUNMS of(const DIoUNMS::Attributes& a) {
    return {a.score_threshold, a.iou_threshold, a.beta, a.pre_nms_top_k, a.max_detections, a.class_agnostic != 0};
}

cuda::Shape shape_of(const nvinfer1::Dims* inputs) {
    return {inputs[BOXES].d[0], inputs[BOXES].d[1], inputs[SCORES].d[2]};
}

cuda::Float float_of(nvinfer1::DataType type) {
    return type == nvinfer1::DataType::kHALF ? cuda::Float::HALF : cuda::Float::SINGLE;
}

}  // namespace

const Table& DIoUNMS::table() {
    using nvinfer1::PluginFieldType;
    static const Table fields{
        {"score_threshold", PluginFieldType::kFLOAT32, offsetof(Attributes, score_threshold), true},
        {"iou_threshold", PluginFieldType::kFLOAT32, offsetof(Attributes, iou_threshold), true},
        {"beta", PluginFieldType::kFLOAT32, offsetof(Attributes, beta), true},
        {"pre_nms_top_k", PluginFieldType::kINT32, offsetof(Attributes, pre_nms_top_k), true},
        {"max_detections", PluginFieldType::kINT32, offsetof(Attributes, max_detections), true},
        {"class_agnostic", PluginFieldType::kINT32, offsetof(Attributes, class_agnostic), true},
    };
    return fields;
}

std::string DIoUNMS::fault_of(const Attributes& attributes) {
    const char* needed = edgedet::fault_of(of(attributes));
    return needed == nullptr ? "" : std::string("it takes ") + needed;
}

bool DIoUNMS::takes(const Attributes&, int32_t position, nvinfer1::DataType type, nvinfer1::TensorFormat format) {
    using nvinfer1::DataType;
    if (format != nvinfer1::TensorFormat::kLINEAR) return false;
    if (position == NUM_DETS || position == DET_CLASSES) return type == DataType::kINT32;
    return type == DataType::kFLOAT || type == DataType::kHALF;
}

nvinfer1::DataType DIoUNMS::output_type(int32_t output, const nvinfer1::DataType* inputs) {
    const int32_t position = INPUTS + output;
    return position == DET_BOXES    ? inputs[BOXES]
           : position == DET_SCORES ? inputs[SCORES]
                                    : nvinfer1::DataType::kINT32;
}

bool DIoUNMS::output_shape(const Attributes& attributes, int32_t output, const nvinfer1::DimsExprs* inputs,
                           nvinfer1::IExprBuilder& builder, nvinfer1::DimsExprs& shape) {
    if (inputs[BOXES].nbDims != 3 || inputs[SCORES].nbDims != 3) return false;
    const int32_t position = INPUTS + output;
    shape.nbDims = position == DET_BOXES ? 3 : 2;
    shape.d[0] = inputs[BOXES].d[0];
    shape.d[1] = builder.constant(position == NUM_DETS ? 1 : attributes.max_detections);
    if (position == DET_BOXES) shape.d[2] = builder.constant(4);
    return true;
}

std::string DIoUNMS::fault_of(const Attributes& attributes, const nvinfer1::Dims* inputs) {
    const nvinfer1::Dims &boxes = inputs[BOXES], &scores = inputs[SCORES];
    if (boxes.nbDims != 3 || boxes.d[2] != 4) return "it takes boxes [B, N, 4]";
    if (scores.nbDims != 3 || scores.d[0] != boxes.d[0] || scores.d[1] != boxes.d[1])
        return "it takes scores [B, N, C] for boxes [B, N, 4]";
    const char* needed = cuda::limit_of(shape_of(inputs), of(attributes));
    return needed == nullptr ? "" : std::string("it takes ") + needed;
}

size_t DIoUNMS::workspace_bytes(const Attributes& attributes, const nvinfer1::Dims* inputs) {
    return cuda::workspace_bytes(shape_of(inputs), of(attributes));
}

cudaError_t DIoUNMS::run(const Attributes& attributes, const nvinfer1::PluginTensorDesc* inputs,
                         const void* const* given, void* const* made, void* workspace, cudaStream_t stream) {
    const nvinfer1::Dims shapes[INPUTS] = {inputs[BOXES].dims, inputs[SCORES].dims};
    return cuda::diou_nms({given[BOXES], given[SCORES], float_of(inputs[BOXES].type), float_of(inputs[SCORES].type)},
                          {static_cast<int32_t*>(made[0]), made[1], made[2], static_cast<int32_t*>(made[3])},
                          shape_of(shapes), of(attributes), workspace, stream);
}

}  // namespace tensorrt
}  // namespace edgedet
