// The attributes of DIoU-NMS, for every kernel and every library around one. What they mean is written in
// edgedet/ops/diou_nms/definition.py.
#pragma once

#include <cstdint>

namespace edgedet {

struct DIoUNMS {
    float score_threshold;
    double iou_threshold;
    double beta;
    int64_t pre_nms_top_k;
    int64_t max_detections;
    bool class_agnostic;
};

// What an attribute should be that is not, NaN among the numbers; null where all are in their ranges.
inline const char* fault_of(const DIoUNMS& attributes) {
    if (!(attributes.score_threshold >= 0 && attributes.score_threshold <= 1)) return "score_threshold from 0 to 1";
    if (!(attributes.iou_threshold >= 0 && attributes.iou_threshold <= 1)) return "iou_threshold from 0 to 1";
    if (!(attributes.beta > 0)) return "beta above 0";
    if (attributes.pre_nms_top_k < 1) return "pre_nms_top_k of 1 or more";
    if (attributes.max_detections < 1) return "max_detections of 1 or more";
    return nullptr;
}

}  // namespace edgedet
