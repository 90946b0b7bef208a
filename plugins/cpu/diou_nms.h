// DIoU-NMS of one image on the CPU, as edgedet/ops/diou_nms/definition.py defines it.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/diou.h"

namespace edgedet::cpu {

// The attributes of `DIoUNMS`, in their ranges.
struct DIoUNMS {
    float score_threshold;
    double iou_threshold;
    double beta;
    int64_t pre_nms_top_k;
    int64_t max_detections;
    bool class_agnostic;
};

// The kept (box, class) pairs as flat indices `box * classes + class`, best first.
//
// boxes: `count` of them. scores: `[count, classes]`, row major. `count * classes` must be below 2^32.
std::vector<uint32_t> diou_nms(const Box* boxes, const float* scores, int64_t count, int64_t classes,
                               const DIoUNMS& attributes);

}  // namespace edgedet::cpu
