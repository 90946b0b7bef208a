// Where an image lies on the network's canvas, as edgedet/boxes.py defines it.
#pragma once

#include <algorithm>

#include "kernels/diou.h"

namespace edgedet::runner {

// At the top left, resized to whole pixels.
struct Letterbox {
    int source_height = 0, source_width = 0, height = 0, width = 0;

    Letterbox() = default;

    Letterbox(int source_height, int source_width, int canvas_height, int canvas_width)
        : source_height(source_height), source_width(source_width) {
        const double scale = std::min(static_cast<double>(canvas_height) / source_height,
                                      static_cast<double>(canvas_width) / source_width);
        height = std::min(canvas_height, std::max(1, static_cast<int>(source_height * scale + 0.5)));
        width = std::min(canvas_width, std::max(1, static_cast<int>(source_width * scale + 0.5)));
    }

    // A box in canvas pixels as one in the source's, clipped to it.
    Box to_source(const Box& box) const {
        const double scale_x = static_cast<double>(width) / source_width;
        const double scale_y = static_cast<double>(height) / source_height;
        const auto clipped = [](double value, int limit) {
            const float rounded = static_cast<float>(value);
            return rounded < 0 ? 0.0F : rounded > static_cast<float>(limit) ? static_cast<float>(limit) : rounded;
        };
        return {clipped(box.x1 / scale_x, source_width), clipped(box.y1 / scale_y, source_height),
                clipped(box.x2 / scale_x, source_width), clipped(box.y2 / scale_y, source_height)};
    }
};

}  // namespace edgedet::runner
