// Images in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgedet::runner {

enum class Order { bgr, rgb, gray };

inline int channels_of(Order order) { return order == Order::gray ? 1 : 3; }

// 8-bit pixels that belong to somebody else. `stride`: bytes from row to row.
struct ImageView {
    const std::uint8_t* data;
    int height, width;
    std::ptrdiff_t stride;
    Order order;

    const std::uint8_t* row(int y) const { return data + y * stride; }
};

// An image that owns its pixels, row by row without gaps.
struct Image {
    std::vector<std::uint8_t> pixels;
    int height = 0, width = 0;
    Order order = Order::bgr;

    ImageView view() const {
        return {pixels.data(), height, width, static_cast<std::ptrdiff_t>(width) * channels_of(order), order};
    }
};

}  // namespace edgedet::runner
