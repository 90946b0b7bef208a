// The self-test: golden images with what edgedet's Python runtime made of them (edgedet/deploy/golden.py writes them).
#pragma once

#include <string>
#include <vector>

#include "detector.h"

namespace edgedet::runner {

struct GoldenDetection {
    double box[4];
    double score;
    int class_id;
};

struct GoldenImage {
    std::string image, input, input_sha256;  // files in the folder; `input` may be empty
    int width = 0, height = 0;
    double score_threshold = 0;  // what the detections were found with
    std::vector<GoldenDetection> detections;
};

struct Golden {
    std::string folder, model_sha256;
    double input_tolerance = 0;  // of a value of the network's input
    double box_tolerance = 0;    // of a corner, in pixels of the network's input
    double score_tolerance = 0;
    std::vector<GoldenImage> images;
};

// What `golden.json` in the folder says. Throws `Error`.
Golden read_golden(const std::string& folder);

// What of one image differs, in words; empty where nothing does. Throws `Error` for files that cannot be read.
std::string compare_golden(Detector& detector, const Golden& golden, const GoldenImage& image);

}  // namespace edgedet::runner
