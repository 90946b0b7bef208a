// The specification of pre- and post-processing, as edgedet/spec.py defines it: it travels in the model.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "json.h"
#include "kernels/diou_nms.h"

namespace edgedet::runner {

// How an image becomes the network's input: letterbox at the top left, RGB, `(pixel / 255 - mean) / std`.
struct Preprocess {
    int height = 0, width = 0;
    int pad_value = 114;
    std::array<double, 3> mean{{0.485, 0.456, 0.406}};
    std::array<double, 3> std{{0.229, 0.224, 0.225}};
};

struct Postprocess {
    double score_threshold = 0.25;
    double iou_threshold = 0.6;
    double beta = 1.0;
    int pre_nms_top_k = 1000;
    int max_detections = 300;
    bool class_agnostic = false;

    // As the kernel takes them.
    DIoUNMS attributes() const;
};

struct Spec {
    std::string model;
    std::vector<std::string> class_names;
    std::vector<int> strides;
    Preprocess preprocess;
    Postprocess postprocess;
    bool random_weights = false;
};

// The specification in `text`; throws `Error`, with `where` in it, for what edgedet would refuse too.
Spec parse_spec(const std::string& text, const std::string& where);
Spec spec_from(const Json& value, const std::string& where);

}  // namespace edgedet::runner
