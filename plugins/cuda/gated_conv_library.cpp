// The gated convolution as C functions, for programs that load the CUDA kernels: see library.cpp.
#include "cuda/gated_conv.h"
#include "cuda/scratch.h"

#define EDGEDET_EXPORTED extern "C" __attribute__((visibility("default")))

using namespace edgedet;

namespace {

// As _Sizes of edgedet/ops/gated_conv/cuda.py.
struct Sizes {
    int64_t step, lowest, highest, granularity, tile, stride_y, stride_x, top, left, bottom, right, groups;
    int64_t outputs, inputs, kernel_height, kernel_width;
    int64_t images, height, width, half;
    float x_scale;
    int32_t always_open;
};

struct Weights {
    const int8_t* codes;
    const float *scale, *threshold, *sign, *bias;
};

GatedConv gate_of(const Sizes& s) {
    return {s.step,     s.lowest, s.highest, static_cast<Granularity>(s.granularity), s.tile,  s.stride_y,
            s.stride_x, s.top,    s.left,    s.bottom,                                s.right, s.groups};
}

cuda::GatedSizes sizes_of(const Sizes& s) { return {s.outputs, s.inputs, s.kernel_height, s.kernel_width}; }

cuda::GatedImages images_of(const Sizes& s) { return {s.images, s.height, s.width}; }

cuda::GatedWeights weights_of(const Sizes& s, const Weights& w) {
    return {s.x_scale, w.codes, w.scale, w.threshold, w.sign, w.bias};
}

cuda::GatedLayer layer_of(const Sizes& s, const void* packed) {
    return {gate_of(s), sizes_of(s), s.x_scale, s.always_open != 0, packed};
}

}  // namespace

// What is wrong with the sizes, or the weights on the host, as text; null if nothing is.
EDGEDET_EXPORTED const char* edgedet_cuda_gated_conv_fault(const Sizes* sizes, const Weights* weights) {
    const char* fault = fault_of(gate_of(*sizes));
    if (fault == nullptr) fault = cuda::limit_of(gate_of(*sizes), sizes_of(*sizes));
    if (fault == nullptr) fault = cuda::limit_of(gate_of(*sizes), sizes_of(*sizes), images_of(*sizes));
    return fault != nullptr ? fault : cuda::fault_of(sizes_of(*sizes), weights_of(*sizes, *weights));
}

EDGEDET_EXPORTED size_t edgedet_cuda_gated_conv_packed(const Sizes* sizes) {
    return cuda::packed_bytes(gate_of(*sizes), sizes_of(*sizes));
}

EDGEDET_EXPORTED size_t edgedet_cuda_gated_conv_workspace(const Sizes* sizes) {
    return cuda::workspace_bytes(layer_of(*sizes, nullptr), images_of(*sizes));
}

// Both on the host. 1 where no gate can be closed, which the sizes are to say from then on; else 0.
EDGEDET_EXPORTED int edgedet_cuda_gated_conv_pack(const Sizes* sizes, const Weights* weights, void* packed) {
    cuda::pack(gate_of(*sizes), sizes_of(*sizes), weights_of(*sizes, *weights), packed);
    return cuda::is_always_open(gate_of(*sizes), sizes_of(*sizes), weights_of(*sizes, *weights)) ? 1 : 0;
}

// 0, or the number of an error of CUDA. All pointers but the first are of the device.
EDGEDET_EXPORTED int edgedet_cuda_gated_conv(const Sizes* sizes, const void* packed, const void* x, void* y,
                                             void* workspace, cudaStream_t stream) {
    return cuda::gated_conv(layer_of(*sizes, packed), images_of(*sizes),
                            sizes->half != 0 ? cuda::Float::HALF : cuda::Float::SINGLE, x, y, workspace, stream);
}

// The same of arrays on the host, which are copied to the device and back: for checks.
EDGEDET_EXPORTED int edgedet_cuda_gated_conv_of_host(const Sizes* sizes, const void* packed, const void* x, void* y) {
    const size_t value = sizes->half != 0 ? 2 : 4, images = static_cast<size_t>(sizes->images);
    const size_t pixels = images * static_cast<size_t>(sizes->height * sizes->width);
    const auto channels = static_cast<size_t>(sizes->inputs * sizes->groups), outputs = static_cast<size_t>(sizes->outputs);
    const int64_t rows = cuda::result_height(gate_of(*sizes), sizes_of(*sizes), sizes->height);
    const int64_t columns = cuda::result_width(gate_of(*sizes), sizes_of(*sizes), sizes->width);
    const size_t result = images * outputs * static_cast<size_t>(rows * columns) * value;
    cuda::Scratch scratch;
    const void* given_packed = scratch.copy_of(packed, edgedet_cuda_gated_conv_packed(sizes));
    const void* given_x = scratch.copy_of(x, pixels * channels * value);
    void* made = scratch.room(result);
    void* workspace = scratch.room(edgedet_cuda_gated_conv_workspace(sizes));
    if (scratch.status == cudaSuccess)
        scratch.status = static_cast<cudaError_t>(
            edgedet_cuda_gated_conv(sizes, given_packed, given_x, made, workspace, nullptr));
    scratch.bring(y, made, result);
    return scratch.status;
}
