// DIoU-NMS of one image on the CPU, as edgedet/ops/diou_nms/definition.py defines it.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/diou.h"
#include "kernels/diou_nms.h"

namespace edgedet::cpu {

// The kept (box, class) pairs as flat indices `box * classes + class`, best first.
//
// boxes: `count` of them. scores: `[count, classes]`, row major. `count * classes` must be below 2^32.
std::vector<uint32_t> diou_nms(const Box* boxes, const float* scores, int64_t count, int64_t classes,
                               const DIoUNMS& attributes);

}  // namespace edgedet::cpu
