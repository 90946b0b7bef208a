// From the network's outputs to detections in the source image's pixels.
#pragma once

#include <vector>

#include "backend.h"
#include "cpu/diou_nms.h"
#include "letterbox.h"
#include "results.h"
#include "spec.h"

namespace edgedet::runner {

// Knows the outputs' memory, and keeps its own.
class Postprocessor {
public:
    // `outputs` are a backend's, and live as long. Throws `Error` where they are not those that the specification promises.
    Postprocessor(const std::vector<Tensor>& outputs, const Spec& spec, const std::string& where);

    // Whether the model itself suppresses boxes, as its specification says.
    bool has_nms() const { return counts_ != nullptr; }

    // Other thresholds, of a model whose NMS is here.
    void set(const Postprocess& settings);

    // The detections of the first image of the batch. Boxes of which nothing lies in the source image are left out.
    void run(const Letterbox& letterbox, Detections& out);

private:
    void add(const Box& box, float score, int class_id, const Letterbox& letterbox, Detections& out) const;

    const Tensor *counts_ = nullptr, *boxes_ = nullptr, *scores_ = nullptr, *class_ids_ = nullptr;
    int classes_;
    DIoUNMS attributes_;
    cpu::DIoUNMSWorkspace workspace_;
    std::string where_;
};

}  // namespace edgedet::runner
