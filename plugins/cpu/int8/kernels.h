// Products of signed 8-bit weights and 8-bit codes, one implementation for each kind of CPU.
#pragma once

#include <cstdint>
#include <vector>

namespace edgedet::cpu {

constexpr int64_t CHANNELS = 4;  // side by side, as one uint32: a group
constexpr int64_t PANEL = 16;    // columns side by side
constexpr int64_t MOST_ROWS = 8; // that a kernel takes at once; each takes a divisor

// sums[row, column] = the products over all groups, of codes less the offset. Exact as long as sums fit into 32 bits.
struct Int8Products {
    const uint32_t* weights;  // [rows / rows at once, groups, rows at once]
    const uint32_t* codes;    // [columns / PANEL, groups, PANEL]
    const int32_t* row_sums;  // [rows], of the weights
    int32_t* sums;            // [rows, columns]
    int32_t offset;
    int64_t rows, groups, columns;
    int64_t groups_in_16_bits;  // whose products may be added there; 0 where not even those of one group may
};

struct Int8Kernel {
    const char* name;
    bool takes_unsigned;  // codes of 0 to 255, else of -128 to 127
    int64_t rows_at_once;
    int64_t products_in_16_bits;  // that a group adds in each lane of 16 bits; 0 where lanes have 32
    void (*multiply)(const Int8Products&);
};

// In plain C++, for any CPU.
extern const Int8Kernel PLAIN;

// Those that run on this CPU, fastest first; PLAIN is the last.
const std::vector<const Int8Kernel*>& int8_kernels();

}  // namespace edgedet::cpu
