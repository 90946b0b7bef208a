// DIoU-NMS of one image on the CPU, as edgedet/ops/diou_nms/definition.py defines it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/diou.h"
#include "kernels/diou_nms.h"

namespace edgedet::cpu {

// The kept (box, class) pairs as flat indices `box * classes + class`, best first.
//
// boxes: `count` of them. scores: `[count, classes]`, row major. `count * classes` must be below 2^32.
std::vector<uint32_t> diou_nms(const Box* boxes, const float* scores, int64_t count, int64_t classes,
                               const DIoUNMS& attributes);

// The same for image after image, in memory that is kept: nothing is allocated once it has grown.
class DIoUNMSWorkspace {
public:
    DIoUNMSWorkspace();
    ~DIoUNMSWorkspace();

    // Takes the most memory that images of this many boxes and classes can need.
    void reserve(int64_t count, int64_t classes, const DIoUNMS& attributes);

    // As `diou_nms`. What is returned holds until the next call.
    const std::vector<uint32_t>& run(const Box* boxes, const float* scores, int64_t count, int64_t classes,
                                     const DIoUNMS& attributes);

private:
    struct Memory;
    std::unique_ptr<Memory> memory_;
};

}  // namespace edgedet::cpu
