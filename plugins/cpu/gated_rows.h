// The loops of the gated convolution over positions that lie side by side. Values are float32, or bytes on a grid.
#pragma once

#include <cstdint>

#include "kernels/gated_conv.h"

namespace edgedet::cpu {

// How values are read as codes, split, and what is added to their parts; the bits of all four are then flipped.
struct Split {
    float codes_of_value;  // of float32
    int32_t zero_point;    // of bytes
    int32_t lowest, highest, bits, highest_step;
    int16_t high_added, low_added;
    uint32_t flipped;
};

// What sums are multiplied with, and what is added; and the zero point of bytes.
struct Finish {
    float high, low, bias;
    int32_t zero_point;
};

// Four channels of `count` positions as panels of both parts, which are `stride` apart.
void split_channels(const float* const* rows, int64_t count, const Split& split, int64_t stride, uint32_t* high,
                    uint32_t* low);
void split_channels(const uint8_t* const* rows, int64_t count, const Split& split, int64_t stride, uint32_t* high,
                    uint32_t* low);

// The result where the gate is closed; and 1 for what is wanted, beside what was before.
void predict_row(const int32_t* sums, int64_t count, const Finish& finish, const GateLimits& gate, float* y, int32_t* wanted);
void predict_row(const int32_t* sums, int64_t count, const Finish& finish, const GateLimits& gate, uint8_t* y,
                 int32_t* wanted);

// The result with the low sums where it is open.
void update_row(const int32_t* sums, const int32_t* low, const int32_t* open, int64_t count, const Finish& finish,
                float* y);
void update_row(const int32_t* sums, const int32_t* low, const int32_t* open, int64_t count, const Finish& finish,
                uint8_t* y);

// The result with the low sums, which are of these places alone, one after the other.
void update_places(const int32_t* sums, const int32_t* low, const int32_t* places, int64_t count, const Finish& finish,
                   float* y);
void update_places(const int32_t* sums, const int32_t* low, const int32_t* places, int64_t count, const Finish& finish,
                   uint8_t* y);

}  // namespace edgedet::cpu
