// The matrix product of signed 8-bit weights and 8-bit codes, with exact sums.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/int8/kernels.h"

namespace edgedet::cpu {

// The ends of a matrix of codes, within -128..127. The nearer, the fewer instructions on CPUs without dot products.
struct CodeRange {
    int32_t lowest, highest;
};

inline int64_t rounded_up(int64_t count, int64_t to) { return (count + to - 1) / to * to; }

// Weights as a kernel takes them. Codes are packed by who has them: code (channel, column) is byte channel % CHANNELS of
// the uint32 at [column / PANEL, channel / CHANNELS, column % PANEL].
class Int8Gemm {
public:
    // weights: [rows, depth]; depth at most 2^16, so that sums fit into 32 bits.
    Int8Gemm(const int8_t* weights, int64_t rows, int64_t depth, const Int8Kernel& kernel = *int8_kernels().front());

    int64_t rows() const { return rounded_up(rows_, MOST_ROWS); }
    int64_t groups() const { return groups_; }

    // Whether codes are packed less the lowest of their range, as bytes from 0 on; else as they are, signed.
    bool takes_unsigned() const { return kernel_->takes_unsigned; }

    // sums: [rows(), columns], of which the weights have `rows`. columns: a multiple of PANEL.
    void multiply(const uint32_t* codes, CodeRange range, int64_t columns, int32_t* sums) const;

private:
    const Int8Kernel* kernel_;
    int64_t rows_, groups_;
    int32_t largest_ = 0;
    std::vector<uint32_t> packed_;
    std::vector<int32_t> row_sums_;
};

}  // namespace edgedet::cpu
