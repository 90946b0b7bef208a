// Bilinear resizing of 8-bit images, bit for bit as OpenCV's INTER_LINEAR (versions 4 and 5 on x86) gives it, on every
// machine: boards have versions of OpenCV that are built with other kernels, or none.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "image.h"
#include "resize_kernels.h"

namespace edgedet::runner {

// Resizes row by row. Its memory is kept from image to image.
class Resizer {
public:
    // For the rows of `source`, which must stay where it is until the last row is read.
    void start(const ImageView& source, int height, int width);

    // Row `y`, interleaved as the source's; rows must be asked for in ascending order. Holds until the next call.
    const std::uint8_t* row(int y);

private:
    enum class Way { copy, halve, interpolate };

    void make_tables();
    const std::int16_t* horizontal(int source_row);

    ImageView source_{};
    int height_ = 0, width_ = 0;
    std::array<int, 5> tables_of_{{0, 0, 0, 0, 0}};
    Way way_ = Way::copy;

    std::vector<Column> columns_;
    std::vector<std::int32_t> upper_, lower_;    // by row: the source's rows
    std::vector<std::int16_t> upper_weight_, lower_weight_;
    int inner_ = 0;                              // columns whose right pixel is not the row's last one

    std::array<std::vector<std::int16_t>, 2> lines_;  // rows of the source, resized horizontally
    std::array<int, 2> line_of_{{-1, -1}};
    std::vector<std::uint16_t> sums_;
    std::vector<std::uint8_t> out_;
};

}  // namespace edgedet::runner
