// The loops that all kernels share. A file that includes it may be compiled for a CPU that others lack: so everything in
// it stays within its file, and nothing of the standard library is used, which the linker could take for all.
#pragma once

#include "cpu/int8/kernels.h"

namespace edgedet::cpu {
namespace {

// `Cpu` has the types Codes, Weights, Part (a sum of products) and Sum (32 bits), ROWS and VECTORS (registers of sums at
// once), LANES (columns of a register), and functions over these.
template <class Cpu>
inline void multiply_tile(const Int8Products& products, int64_t row_0, int64_t column, int64_t groups_at_once) {
    const int64_t groups = products.groups, columns = products.columns;
    const uint32_t* weights = products.weights + row_0 * groups;
    const uint32_t* codes = products.codes + column / PANEL * PANEL * groups + column % PANEL;
    const int32_t* row_sums = products.row_sums + row_0;
    int32_t* sums = products.sums + row_0 * columns + column;
    for (int64_t first = 0; first < groups; first += groups_at_once) {
        const int64_t end = groups - first < groups_at_once ? groups : first + groups_at_once;
        typename Cpu::Part part[Cpu::ROWS][Cpu::VECTORS];
        for (auto& row : part)
            for (auto& one : row) one = Cpu::nothing();
#pragma GCC unroll 2
        for (int64_t group = first; group < end; ++group) {
            typename Cpu::Codes x[Cpu::VECTORS];
            for (int i = 0; i < Cpu::VECTORS; ++i) x[i] = Cpu::load(codes + group * PANEL + i * Cpu::LANES);
            for (int row = 0; row < Cpu::ROWS; ++row) {
                const typename Cpu::Weights w = Cpu::spread(weights[group * Cpu::ROWS + row]);
                for (int i = 0; i < Cpu::VECTORS; ++i) part[row][i] = Cpu::add(part[row][i], x[i], w);
            }
        }
        for (int row = 0; row < Cpu::ROWS; ++row)
            for (int i = 0; i < Cpu::VECTORS; ++i) {
                int32_t* sum = sums + row * columns + i * Cpu::LANES;
                const auto before = first == 0 ? Cpu::fill(-products.offset * row_sums[row]) : Cpu::load_sum(sum);
                Cpu::store(sum, Cpu::widen(before, part[row][i]));
            }
    }
}

template <class Cpu>
void multiply(const Int8Products& products) {
    constexpr int64_t WIDTH = Cpu::VECTORS * Cpu::LANES;
    static_assert(PANEL % WIDTH == 0 && MOST_ROWS % Cpu::ROWS == 0);
    const int64_t at_once = Cpu::IN_16_BITS ? products.groups_in_16_bits : products.groups;
    for (int64_t column = 0; column < products.columns; column += WIDTH)
        for (int64_t row = 0; row < products.rows; row += Cpu::ROWS) multiply_tile<Cpu>(products, row, column, at_once);
}

}  // namespace
}  // namespace edgedet::cpu
