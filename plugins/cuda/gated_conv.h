// The gated convolution of a batch of images on a GPU, as edgedet/ops/gated_conv/definition.py defines it.
//
// Values are float32 or float16, of [images, channels, height, width], linear. Sums are integers and the very ones of the
// CPU kernel, and so are the gates; each result is then rounded to float32 as written, and to float16.
//
// What the time cannot be below: the bytes that go to and from memory, at its bandwidth. These are
//     images * (channels * height * width + outputs * result_height * result_width) * (4 or 2) + weights,
// for which a 1x1 convolution multiplies `outputs` times for each value read: of 96 to 96 channels in float16 a dense
// pass is 24 products a byte. Tensor cores need several times that to be kept busy, so most layers of small detectors
// stay at the bytes, and a gate saves time only where products are what costs. The update reads its inputs again, of the
// columns alone that have an open gate, and these are in the second cache where a map fits there.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "cuda/diou_nms.h"
#include "kernels/gated_conv.h"

namespace edgedet {
namespace cuda {

// Of the weights: [outputs, inputs, height, width], where inputs are those of one group.
struct GatedSizes {
    int64_t outputs, inputs, height, width;
};

// On the host.
struct GatedWeights {
    float x_scale;
    const int8_t* codes;                             // of GatedSizes
    const float *scale, *threshold, *sign, *bias;  // [outputs]
};

struct GatedImages {
    int64_t count, height, width;
};

// What these kernels do not take; null where all is in its range. The attributes have no fault.
const char* limit_of(const GatedConv& gate, const GatedSizes& sizes);
const char* limit_of(const GatedConv& gate, const GatedSizes& sizes, const GatedImages& images);

// Scales that are none: "x_scale above 0" or "weight_scale above 0"; null where there are none of these.
const char* fault_of(const GatedSizes& sizes, const GatedWeights& weights);

// Of the result; below 1 where the padded image is smaller than the weights.
int64_t result_height(const GatedConv& gate, const GatedSizes& sizes, int64_t height);
int64_t result_width(const GatedConv& gate, const GatedSizes& sizes, int64_t width);

// The weights as the kernels take them, written on the host, to be copied to the device once.
size_t packed_bytes(const GatedConv& gate, const GatedSizes& sizes);
void pack(const GatedConv& gate, const GatedSizes& sizes, const GatedWeights& weights, void* packed);

// Whether no gate can be closed: then there is one pass, of both parts, and nothing is decided.
bool is_always_open(const GatedConv& gate, const GatedSizes& sizes, const GatedWeights& weights);

struct GatedLayer {
    GatedConv gate;
    GatedSizes sizes;
    float x_scale;
    bool always_open;
    const void* packed;  // on the device, aligned to 16 bytes
};

// A byte for each position or tile that is decided about.
size_t workspace_bytes(const GatedLayer& layer, const GatedImages& images);

// Puts all work on the stream and returns: nothing waits, so it can be captured in a graph. x, y and the workspace, which
// needs no initial value, are on the device.
cudaError_t gated_conv(const GatedLayer& layer, const GatedImages& images, Float type, const void* x, void* y,
                       void* workspace, cudaStream_t stream);

}  // namespace cuda
}  // namespace edgedet
