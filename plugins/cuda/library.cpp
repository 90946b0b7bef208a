// The CUDA kernels as C functions, for programs that load them: tests, and benchmarks/kernels.py.
#include "cuda/diou_nms.h"
#include "cuda/mish.h"
#include "cuda/scratch.h"
#include "kernels/mish.h"

#define EDGEDET_EXPORTED extern "C" __attribute__((visibility("default")))

using namespace edgedet;

namespace {

struct Sizes {
    int64_t images, boxes, classes;
    int64_t pre_nms_top_k, max_detections;
    double score_threshold, iou_threshold, beta;
    int32_t class_agnostic, half_boxes, half_scores;
};

DIoUNMS attributes_of(const Sizes& sizes) {
    return {static_cast<float>(sizes.score_threshold), sizes.iou_threshold,  sizes.beta,
            sizes.pre_nms_top_k,                       sizes.max_detections, sizes.class_agnostic != 0};
}

cuda::Shape shape_of(const Sizes& sizes) { return {sizes.images, sizes.boxes, sizes.classes}; }

cuda::Float type_of(int32_t is_half) { return is_half != 0 ? cuda::Float::HALF : cuda::Float::SINGLE; }

}  // namespace

// What an error of CUDA is, as text.
EDGEDET_EXPORTED const char* edgedet_cuda_error(int error) { return cudaGetErrorString(static_cast<cudaError_t>(error)); }

// What does not fit, as text; null if all does.
EDGEDET_EXPORTED const char* edgedet_cuda_diou_nms_fault(const Sizes* sizes) {
    const char* fault = fault_of(attributes_of(*sizes));
    return fault != nullptr ? fault : cuda::limit_of(shape_of(*sizes), attributes_of(*sizes));
}

EDGEDET_EXPORTED size_t edgedet_cuda_diou_nms_workspace(const Sizes* sizes) {
    return cuda::workspace_bytes(shape_of(*sizes), attributes_of(*sizes));
}

// 0, or the number of an error of CUDA. All pointers but the first are of the device.
EDGEDET_EXPORTED int edgedet_cuda_diou_nms(const Sizes* sizes, const void* boxes, const void* scores, int32_t* num_dets,
                                           void* det_boxes, void* det_scores, int32_t* det_classes, void* workspace,
                                           cudaStream_t stream) {
    return cuda::diou_nms({boxes, scores, type_of(sizes->half_boxes), type_of(sizes->half_scores)},
                          {num_dets, det_boxes, det_scores, det_classes}, shape_of(*sizes), attributes_of(*sizes),
                          workspace, stream);
}

// The same of float32 arrays on the host: they are copied to the device and back, for checks.
EDGEDET_EXPORTED int edgedet_cuda_diou_nms_of_host(const Sizes* sizes, const float* boxes, const float* scores,
                                                   int32_t* num_dets, float* det_boxes, float* det_scores,
                                                   int32_t* det_classes) {
    const size_t images = static_cast<size_t>(sizes->images), pairs = images * static_cast<size_t>(sizes->boxes);
    const size_t rows = images * static_cast<size_t>(sizes->max_detections), four = 4;
    cuda::Scratch scratch;
    const void* given_boxes = scratch.copy_of(boxes, pairs * four * sizeof(float));
    const void* given_scores = scratch.copy_of(scores, pairs * static_cast<size_t>(sizes->classes) * sizeof(float));
    void* made[] = {scratch.room(images * four), scratch.room(rows * four * four), scratch.room(rows * four),
                    scratch.room(rows * four)};
    void* workspace = scratch.room(edgedet_cuda_diou_nms_workspace(sizes));
    if (scratch.status == cudaSuccess)
        scratch.status = static_cast<cudaError_t>(
            edgedet_cuda_diou_nms(sizes, given_boxes, given_scores, static_cast<int32_t*>(made[0]), made[1], made[2],
                                  static_cast<int32_t*>(made[3]), workspace, nullptr));
    scratch.bring(num_dets, made[0], images * four);
    scratch.bring(det_boxes, made[1], rows * four * four);
    scratch.bring(det_scores, made[2], rows * four);
    scratch.bring(det_classes, made[3], rows * four);
    return scratch.status;
}

EDGEDET_EXPORTED int edgedet_cuda_mish_float32(const float* input, float* output, size_t count, cudaStream_t stream) {
    return cuda::mish(input, output, count, stream);
}

EDGEDET_EXPORTED int edgedet_cuda_mish_float16(const __half* input, __half* output, size_t count, cudaStream_t stream) {
    return cuda::mish(input, output, count, stream);
}

EDGEDET_EXPORTED int edgedet_cuda_mish_int8(const int8_t* input, int8_t* output, size_t count, float input_scale,
                                            float output_scale, cudaStream_t stream) {
    cuda::MishTable table;
    fill_mish_table(input_scale, output_scale, table.values);
    return cuda::mish(input, output, count, table, stream);
}
