#include "cpu/int8_gemm.h"

#include <algorithm>
#include <cstdlib>

namespace edgedet::cpu {

Int8Gemm::Int8Gemm(const int8_t* weights, int64_t rows, int64_t depth, const Int8Kernel& kernel)
    : kernel_(&kernel),
      rows_(rows),
      groups_((depth + CHANNELS - 1) / CHANNELS),
      packed_(static_cast<size_t>(this->rows() * groups_)),
      row_sums_(static_cast<size_t>(this->rows())) {
    const int64_t at_once = kernel.rows_at_once;
    for (int64_t row = 0; row < rows; ++row)
        for (int64_t channel = 0; channel < depth; ++channel) {
            const int32_t weight = weights[row * depth + channel];
            const int64_t group = channel / CHANNELS;
            const int64_t place = (row / at_once * groups_ + group) * at_once + row % at_once;
            packed_[static_cast<size_t>(place)] |= uint32_t{static_cast<uint8_t>(weight)} << 8 * (channel % CHANNELS);
            row_sums_[static_cast<size_t>(row)] += weight;
            largest_ = std::max(largest_, std::abs(weight));
        }
}

void Int8Gemm::multiply(const uint32_t* codes, CodeRange range, int64_t columns, int32_t* sums) const {
    const int32_t added = takes_unsigned() ? -range.lowest : 0;
    const int64_t farthest = std::max(std::abs(range.highest + added), std::abs(range.lowest + added));
    const int64_t largest_sum = kernel_->products_in_16_bits * farthest * largest_;
    const int64_t fitting = largest_sum == 0 ? groups_ : INT16_MAX / largest_sum;
    kernel_->multiply({packed_.data(), codes, row_sums_.data(), sums, added, rows(), groups_, columns, fitting});
}

}  // namespace edgedet::cpu
