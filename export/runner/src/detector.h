// A detector: an image in, detections in the image's own pixels out.
#pragma once

#include <memory>
#include <string>

#include "backend.h"
#include "image.h"
#include "postprocess.h"
#include "preprocess.h"
#include "results.h"
#include "spec.h"

namespace edgedet::runner {

// Obeys a specification on any backend. One thread may use it at a time. For images of one size, nothing is allocated
// after the first; what a backend allocates is its own.
class Detector {
public:
    // `where`: the model's file, for messages. Throws `Error` where the model is not what its specification says.
    Detector(std::unique_ptr<Backend> backend, const std::string& where);

    // Other thresholds; what is below 0 stays the model's. Throws `Error`: out of range, or NMS is inside the model.
    void set_thresholds(double score, double iou);

    // The detections in an image, best first; they hold until the next call.
    const Detections& detect(const ImageView& image);

    // The stages of `detect` by themselves.
    void preprocess(const ImageView& image);
    void infer() { backend_->run(); }
    const Detections& postprocess();

    const Spec& spec() const { return spec_; }
    const Tensor& input() const { return backend_->input(); }
    const std::string& backend_name() const { return backend_->name(); }
    bool has_nms() const { return postprocessor_.has_nms(); }
    const Timings& timings() const { return timings_; }

private:
    std::unique_ptr<Backend> backend_;
    std::string where_;
    Spec spec_;
    Preprocessor preprocessor_;
    Postprocessor postprocessor_;
    Letterbox letterbox_;
    Detections detections_;
    Timings timings_;
};

// The detector in a model's file.
std::unique_ptr<Detector> open_detector(const std::string& path, const LoadOptions& options);

}  // namespace edgedet::runner
