// The gated convolution on the CPU, as edgedet/ops/gated_conv/definition.py defines it, of float32 on the grid of codes.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "cpu/int8_gemm.h"
#include "kernels/gated_conv.h"

namespace edgedet::cpu {

struct GatedWeights {
    const int8_t* codes;  // [outputs, inputs, height, width]
    int64_t outputs, inputs, height, width;
    const float *scale, *threshold, *sign;  // [outputs]
};

// One convolution with its weights, packed. The prediction is a dense product of the high parts; the low parts of the
// positions whose gate is open are gathered, multiplied densely and added where they came from. Where most are open all
// are multiplied, which costs less than gathering. `element` gates always have all multiplied.
//
// May be run from several threads at once. What a run needs of memory is kept for the next.
class GatedConvolution {
public:
    // gate without fault; x_scale above 0; outputs divisible by gate.groups; inputs * height * width at most 2^16.
    GatedConvolution(const GatedConv& gate, float x_scale, const GatedWeights& weights,
                     const Int8Kernel& kernel = *int8_kernels().front());
    ~GatedConvolution();

    int64_t channels() const { return inputs_ * gate_.groups; }
    int64_t outputs() const { return outputs_; }

    // Of the result; below 1 where the padded image is smaller than the weights.
    int64_t result_height(int64_t height) const;
    int64_t result_width(int64_t width) const;

    // Parts of an image that are computed apart.
    int64_t bands(int64_t height, int64_t width) const;

    // One band of the result [outputs, result_height, result_width] of one image [channels, height, width].
    void run(const float* x, int64_t height, int64_t width, int64_t band, float* y) const;

private:
    struct Scratch;
    struct Band;
    struct Lease;

    int64_t band_size(int64_t positions, int64_t width) const;
    void pack(const Band& band, int64_t group, uint32_t* high, uint32_t* low) const;
    const float* row_of(const Band& band, int64_t channel, int64_t tap, float* room) const;
    void predict(const Band& band) const;
    void spread_over_tiles(const Band& band) const;
    void update_all(const Band& band) const;
    void update_open(const Band& band) const;

    GatedConv gate_;
    int64_t inputs_, outputs_, kernel_height_, kernel_width_;
    float codes_of_x_;            // 1 / x_scale
    CodeRange high_, low_;        // the high part in steps
    std::vector<Int8Gemm> gemms_; // of each group
    std::vector<float> high_factor_, low_factor_;  // of sums
    std::vector<int32_t> above_, below_;  // open beyond these sums of high parts
    mutable std::mutex mutex_;
    mutable std::vector<std::unique_ptr<Scratch>> free_;};

}  // namespace edgedet::cpu
