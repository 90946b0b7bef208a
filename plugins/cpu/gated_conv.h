// The gated convolution on the CPU, as edgedet/ops/gated_conv/definition.py defines it: of float32 on the grid of
// codes, or of bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "cpu/gated_rows.h"
#include "cpu/int8_gemm.h"
#include "kernels/gated_conv.h"

namespace edgedet::cpu {

struct GatedWeights {
    const int8_t* codes;  // [outputs, inputs, height, width]
    int64_t outputs, inputs, height, width;
    const float *scale, *threshold, *sign, *bias;  // [outputs]
};

// Values are `scale` times whole numbers, which bytes hold plus the zero point; float32 has none.
struct Grid {
    float scale;
    int32_t zero_point;
};

// One convolution with its weights, packed. The prediction is a dense product of the high parts; the low parts of the
// positions whose gate is open are gathered, multiplied densely and added where they came from. Where most are open all
// are multiplied, which costs less than gathering. `element` gates always have all multiplied.
//
// May be run from several threads at once. What a run needs of memory is kept for the next.
//
// Value is float or uint8_t.
template <typename Value>
class GatedConvolution {
public:
    // gate without fault; scales above 0; y, the grid of the result, for bytes alone; outputs divisible by gate.groups;
    // inputs * height * width at most 2^16.
    GatedConvolution(const GatedConv& gate, Grid x, Grid y, const GatedWeights& weights,
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
    void run(const Value* x, int64_t height, int64_t width, int64_t band, Value* y) const;

private:
    struct Scratch;
    struct Band;
    struct Lease;

    int64_t band_size(int64_t positions, int64_t width) const;
    void pack(const Band& band, int64_t group, uint32_t* high, uint32_t* low) const;
    const Value* row_of(const Band& band, int64_t channel, int64_t tap, Value* room) const;
    void predict(const Band& band) const;
    void spread_over_tiles(const Band& band) const;
    void update_all(const Band& band) const;
    void update_open(const Band& band) const;

    GatedConv gate_;
    int64_t inputs_, outputs_, kernel_height_, kernel_width_;
    Grid x_;
    CodeRange high_, low_;         // the high part in steps
    std::vector<Int8Gemm> gemms_;  // of each group
    std::vector<Finish> finish_;   // of each output
    std::vector<GateLimits> open_;
    mutable std::mutex mutex_;
    mutable std::vector<std::unique_ptr<Scratch>> free_;
};

}  // namespace edgedet::cpu
