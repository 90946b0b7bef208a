// DeepStream's nvinfer: detections of a network of edgedet's.
//
// Of boxes and scores they are made by the DIoU-NMS of edgedet's own runtime; of a network with NMS inside they are read.
// nvinfer maps the boxes, which are in pixels of the network's input, back to the frame.
#include <nvdsinfer_custom_impl.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "cpu/diou_nms.h"
#include "edgedet_spec.h"

namespace {

using Layers = std::vector<NvDsInferLayerInfo>;
using Objects = std::vector<NvDsInferParseObjectInfo>;

const NvDsInferLayerInfo* find(const Layers& layers, const char* name, NvDsInferDataType type) {
    for (const NvDsInferLayerInfo& layer : layers) {
        if (std::strcmp(layer.layerName, name) == 0 && layer.dataType == type && layer.buffer) return &layer;
    }
    std::fprintf(stderr, "edgedet: the network has no output %s of the expected type\n", name);
    return nullptr;
}

// The last sizes of a layer, whether nvinfer tells the batch among them or not.
bool ends_with(const NvDsInferLayerInfo& layer, unsigned rows, unsigned columns) {
    const NvDsInferDims& dims = layer.inferDims;
    return dims.numDims >= 2 && dims.d[dims.numDims - 1] == columns && (!rows || dims.d[dims.numDims - 2] == rows);
}

unsigned rows_of(const NvDsInferLayerInfo& layer) { return layer.inferDims.d[layer.inferDims.numDims - 2]; }

void add(const edgedet::Box& box, float score, int64_t class_id, const NvDsInferNetworkInfo& network,
         const NvDsInferParseDetectionParams& params, Objects& objects) {
    if (class_id < 0 || class_id >= static_cast<int64_t>(params.numClassesConfigured)) return;
    const auto& thresholds = params.perClassPreclusterThreshold;
    if (static_cast<size_t>(class_id) < thresholds.size() && score < thresholds[class_id]) return;
    const float width = static_cast<float>(network.width), height = static_cast<float>(network.height);
    const float left = std::clamp(box.x1, 0.0f, width), right = std::clamp(box.x2, 0.0f, width);
    const float top = std::clamp(box.y1, 0.0f, height), bottom = std::clamp(box.y2, 0.0f, height);
    if (!(right > left && bottom > top)) return;
    NvDsInferParseObjectInfo object{};
    object.classId = static_cast<unsigned>(class_id);
    object.left = left;
    object.top = top;
    object.width = right - left;
    object.height = bottom - top;
    object.detectionConfidence = score;
    objects.push_back(object);
}

bool suppress(const Layers& layers, const NvDsInferNetworkInfo& network, const NvDsInferParseDetectionParams& params,
              Objects& objects) {
    const NvDsInferLayerInfo* boxes = find(layers, "boxes", FLOAT);
    const NvDsInferLayerInfo* scores = find(layers, "scores", FLOAT);
    if (!boxes || !scores) return false;
    if (!ends_with(*boxes, 0, 4) || !ends_with(*scores, rows_of(*boxes), edgedet::CLASSES)) {
        std::fprintf(stderr, "edgedet: boxes and scores are not of the sizes in the specification\n");
        return false;
    }
    const auto* corners = static_cast<const edgedet::Box*>(boxes->buffer);
    const auto* confidence = static_cast<const float*>(scores->buffer);
    for (uint32_t pair : edgedet::cpu::diou_nms(corners, confidence, rows_of(*boxes), edgedet::CLASSES, edgedet::NMS)) {
        add(corners[pair / edgedet::CLASSES], confidence[pair], pair % edgedet::CLASSES, network, params, objects);
    }
    return true;
}

bool read(const Layers& layers, const NvDsInferNetworkInfo& network, const NvDsInferParseDetectionParams& params,
          Objects& objects) {
    const NvDsInferLayerInfo* count = find(layers, "num_dets", INT32);
    const NvDsInferLayerInfo* boxes = find(layers, "det_boxes", FLOAT);
    const NvDsInferLayerInfo* scores = find(layers, "det_scores", FLOAT);
    const NvDsInferLayerInfo* classes = find(layers, "det_classes", INT32);
    if (!count || !boxes || !scores || !classes) return false;
    if (!ends_with(*boxes, 0, 4)) return false;
    const int32_t found = *static_cast<const int32_t*>(count->buffer);
    for (int32_t row = 0; row < std::min<int32_t>(found, static_cast<int32_t>(rows_of(*boxes))); ++row) {
        add(static_cast<const edgedet::Box*>(boxes->buffer)[row], static_cast<const float*>(scores->buffer)[row],
            static_cast<const int32_t*>(classes->buffer)[row], network, params, objects);
    }
    return true;
}

}  // namespace

extern "C" bool NvDsInferParseEdgedet(std::vector<NvDsInferLayerInfo> const& layers,
                                      NvDsInferNetworkInfo const& network,
                                      NvDsInferParseDetectionParams const& params,
                                      std::vector<NvDsInferParseObjectInfo>& objects) {
    return edgedet::HAS_NMS ? read(layers, network, params, objects) : suppress(layers, network, params, objects);
}

CHECK_CUSTOM_PARSE_FUNC_PROTOTYPE(NvDsInferParseEdgedet);
