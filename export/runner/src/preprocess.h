// From an image to the network's input, exactly as edgedet/runtime/preprocess.py makes it.
#pragma once

#include <array>

#include "image.h"
#include "letterbox.h"
#include "resize.h"
#include "spec.h"

namespace edgedet::runner {

// Memory and tables are kept from image to image: of images of one size, none after the first allocates.
class Preprocessor {
public:
    explicit Preprocessor(const Preprocess& spec);

    // Writes `[3, height, width]` RGB to `out`. Throws `Error` for what is no image.
    Letterbox run(const ImageView& image, float* out);

private:
    Preprocess spec_;
    std::array<std::array<float, 256>, 3> tables_;
    Resizer resizer_;
};

}  // namespace edgedet::runner
