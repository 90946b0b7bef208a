// The orientation that a camera notes in a JPEG (CIPA DC-008, tag 274), and turning an image upright by it.
#pragma once

#include <vector>

#include "image.h"

namespace edgedet::runner {

// 1 to 8; 1 where there is none, or nonsense.
int exif_orientation(const std::vector<unsigned char>& jpeg);

Image upright(Image image, int orientation);

}  // namespace edgedet::runner
