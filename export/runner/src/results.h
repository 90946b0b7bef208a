// What is found in an image.
#pragma once

#include <vector>

namespace edgedet::runner {

// Corners in pixels of the source image.
struct Detection {
    float x1, y1, x2, y2;
    float score;
    int class_id;
};

// Best first.
using Detections = std::vector<Detection>;

// How long the stages of one detection took, in milliseconds.
struct Timings {
    double preprocess = 0, inference = 0, postprocess = 0;
};

}  // namespace edgedet::runner
