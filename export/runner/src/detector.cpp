#include "detector.h"

#include <utility>

#include "clock.h"
#include "error.h"

namespace edgedet::runner {

Detector::Detector(std::unique_ptr<Backend> backend, const std::string& where)
    : backend_(std::move(backend)),
      where_(where),
      spec_(parse_spec(backend_->specification(), where)),
      preprocessor_(spec_.preprocess),
      postprocessor_(backend_->outputs(), spec_, where) {
    const Tensor& input = backend_->input();
    const Preprocess& size = spec_.preprocess;
    if (input.name != "images" || input.type != Type::float32 || input.shape.size() != 4 || input.shape[1] != 3 ||
        input.shape[2] != size.height || input.shape[3] != size.width)
        throw Error("the model does not match its own specification: its input " + input.name + " is not images, float32 [?, 3, " +
                        std::to_string(size.height) + ", " + std::to_string(size.width) + "]",
                    where, "export it with `edgedet export model.pt`");
    detections_.reserve(static_cast<std::size_t>(spec_.postprocess.max_detections));
}

void Detector::set_thresholds(double score, double iou) {
    if (score < 0 && iou < 0) return;
    if (score > 1 || iou > 1) throw Error("a threshold is from 0 to 1", "--score, --iou");
    Postprocess changed = spec_.postprocess;
    if (score >= 0) changed.score_threshold = score;
    if (iou >= 0) changed.iou_threshold = iou;
    if (changed.score_threshold == spec_.postprocess.score_threshold && changed.iou_threshold == spec_.postprocess.iou_threshold)
        return;
    if (has_nms())
        throw Error("the settings of NMS are inside the model", where_, "leave them, or export the model without --nms");
    spec_.postprocess = changed;
    postprocessor_.set(changed);
}

void Detector::preprocess(const ImageView& image) {
    letterbox_ = preprocessor_.run(image, static_cast<float*>(backend_->input().data));
}

const Detections& Detector::postprocess() {
    postprocessor_.run(letterbox_, detections_);
    return detections_;
}

const Detections& Detector::detect(const ImageView& image) {
    const Clock clock;
    preprocess(image);
    const double prepared = clock.milliseconds();
    infer();
    const double inferred = clock.milliseconds();
    postprocess();
    timings_ = {prepared, inferred - prepared, clock.milliseconds() - inferred};
    return detections_;
}

std::unique_ptr<Detector> open_detector(const std::string& path, const LoadOptions& options) {
    return std::make_unique<Detector>(open_backend(path, options), path);
}

}  // namespace edgedet::runner
