#include "postprocess.h"

#include <algorithm>

#include "error.h"

namespace edgedet::runner {
namespace {

std::string said(const std::vector<std::int64_t>& shape) {
    std::string text = "[";
    for (std::size_t place = 0; place < shape.size(); ++place)
        text += (place == 0 ? "" : ", ") + (shape[place] < 0 ? "?" : std::to_string(shape[place]));
    return text + "]";
}

// The output of that name, of that type and shape behind the batch's size; -1 stands for any size.
const Tensor* output_of(const std::vector<Tensor>& outputs, const std::string& name, Type type,
                        std::vector<std::int64_t> shape, const std::string& where) {
    for (const Tensor& output : outputs) {
        if (output.name != name) continue;
        bool fits = output.type == type && output.shape.size() == shape.size() + 1 && output.shape[0] >= 1;
        for (std::size_t place = 0; fits && place < shape.size(); ++place)
            fits = shape[place] < 0 ? output.shape[place + 1] >= 0 : output.shape[place + 1] == shape[place];
        if (fits) return &output;
        shape.insert(shape.begin(), -1);
        throw Error("the model does not match its own specification: its output " + name + " is " +
                        (output.type == Type::float32 ? "float32 " : "int32 ") + said(output.shape) + ", not " +
                        (type == Type::float32 ? "float32 " : "int32 ") + said(shape),
                    where, "export it with `edgedet export model.pt`");
    }
    throw Error("the model does not match its own specification: it has no output " + name, where,
                "export it with `edgedet export model.pt`");
}

}  // namespace

Postprocessor::Postprocessor(const std::vector<Tensor>& outputs, const Spec& spec, const std::string& where)
    : classes_(static_cast<int>(spec.class_names.size())), where_(where) {
    const std::int64_t rows = spec.postprocess.max_detections;
    const bool inside = std::any_of(outputs.begin(), outputs.end(), [](const Tensor& one) { return one.name == "num_dets"; });
    if (inside) {
        counts_ = output_of(outputs, "num_dets", Type::int32, {1}, where);
        boxes_ = output_of(outputs, "det_boxes", Type::float32, {rows, 4}, where);
        scores_ = output_of(outputs, "det_scores", Type::float32, {rows}, where);
        class_ids_ = output_of(outputs, "det_classes", Type::int32, {rows}, where);
    } else {
        boxes_ = output_of(outputs, "boxes", Type::float32, {-1, 4}, where);
        scores_ = output_of(outputs, "scores", Type::float32, {boxes_->shape[1], classes_}, where);
        if (boxes_->shape[1] * classes_ >= (std::int64_t{1} << 32)) throw Error("has too many boxes", where);
    }
    set(spec.postprocess);
}

void Postprocessor::set(const Postprocess& settings) {
    attributes_ = settings.attributes();
    if (!has_nms()) workspace_.reserve(boxes_->shape[1], classes_, attributes_);
}

void Postprocessor::run(const Letterbox& letterbox, Detections& out) {
    out.clear();
    const auto* boxes = reinterpret_cast<const Box*>(boxes_->floats());
    const float* scores = scores_->floats();
    if (!has_nms()) {
        for (std::uint32_t flat : workspace_.run(boxes, scores, boxes_->shape[1], classes_, attributes_)) {
            const auto classes = static_cast<std::uint32_t>(classes_);
            add(boxes[flat / classes], scores[flat], static_cast<int>(flat % classes), letterbox, out);
        }
        return;
    }
    const std::int32_t count = counts_->integers()[0];
    const std::int64_t rows = scores_->shape[1];
    if (count < 0 || count > rows)
        throw Error("the model gave a count of " + std::to_string(count) + ", of " + std::to_string(rows) + " rows", where_,
                    "export it again with `edgedet export --nms`");
    for (std::int32_t row = 0; row < count; ++row) {
        const int class_id = class_ids_->integers()[row];
        if (class_id < 0 || class_id >= classes_)
            throw Error("the model gave class " + std::to_string(class_id) + ", of " + std::to_string(classes_), where_,
                        "export it again with `edgedet export --nms`");
        add(boxes[row], scores[row], class_id, letterbox, out);
    }
}

void Postprocessor::add(const Box& box, float score, int class_id, const Letterbox& letterbox, Detections& out) const {
    const Box found = letterbox.to_source(box);
    const float width = found.x2 - found.x1, height = found.y2 - found.y1;
    if (width > 0 && height > 0 && width * height > 0)
        out.push_back({found.x1, found.y1, found.x2, found.y2, score, class_id});
}

}  // namespace edgedet::runner
