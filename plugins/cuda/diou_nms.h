// DIoU-NMS of a batch of images on a GPU, as edgedet/ops/diou_nms/definition.py defines it.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/diou_nms.h"

namespace edgedet {
namespace cuda {

enum class Float : int32_t { SINGLE, HALF };

struct Shape {
    int64_t images, boxes, classes;
};

// boxes: `[images, boxes, 4]`. scores: `[images, boxes, classes]`. Both on the device, each of a type of its own.
struct BoxesAndScores {
    const void* boxes;
    const void* scores;
    Float box_type, score_type;
};

// num_dets: `[images, 1]`. boxes: `[images, max_detections, 4]`, scores and classes: `[images, max_detections]`, best
// first; behind the detections stand zeros and classes of -1. Boxes and scores have the types of the input.
struct Detections {
    int32_t* num_dets;
    void* boxes;
    void* scores;
    int32_t* classes;
};

// What these kernels cannot do with such a shape or such attributes; null where they can. Their table of pairs grows
// with the square of the candidates.
const char* limit_of(const Shape& shape, const DIoUNMS& attributes);

// Bytes of the workspace. For each image: a list of 16384 candidates, or of four times pre_nms_top_k if that is more, the
// best of them, and a bit for each pair of those.
size_t workspace_bytes(const Shape& shape, const DIoUNMS& attributes);

// Puts all work on the stream and returns: nothing waits, nothing is copied to the host, so it can be captured in a
// graph. `workspace` is aligned to 256 bytes and needs no initial value.
cudaError_t diou_nms(const BoxesAndScores& input, const Detections& output, const Shape& shape,
                     const DIoUNMS& attributes, void* workspace, cudaStream_t stream);

}  // namespace cuda
}  // namespace edgedet
