// edgedet's operators for ONNX Runtime. A session that this library is registered with computes them here; any other
// computes the function bodies that the files carry.
#include <algorithm>
#include <string>
#include <type_traits>
#include <vector>

#include "cpu/diou_nms.h"
#include "cpu/mish.h"
#include "kernels/mish.h"
#include "onnxruntime/gated_conv.h"
#include "onnxruntime/operator.h"

namespace {

using namespace edgedet::onnxruntime;

float to_float(double value) { return static_cast<float>(value); }
float to_float(Ort::Float16_t value) { return value.ToFloat(); }
float to_float(Ort::BFloat16_t value) { return value.ToFloat(); }

// The same values in float32: others are converted.
template <typename Float>
const float* floats(const Float* values, int64_t count, std::vector<float>& converted) {
    if constexpr (std::is_same_v<Float, float>) {
        return values;
    } else {
        converted.resize(static_cast<size_t>(count));
        std::transform(values, values + count, converted.begin(), [](Float value) { return to_float(value); });
        return converted.data();
    }
}

template <typename Float>
struct DIoUNMSKernel {
    static constexpr const char* NAME = "EdgeDetDIoUNMS";
    static constexpr size_t INPUTS = 2, OUTPUTS = 4;

    static constexpr ONNXTensorElementDataType input(size_t) { return Ort::TypeToTensorType<Float>::type; }
    static constexpr ONNXTensorElementDataType output(size_t index) {
        return index == 0 || index == 3 ? ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32 : Ort::TypeToTensorType<Float>::type;
    }

    explicit DIoUNMSKernel(const OrtKernelInfo* handle) {
        const Ort::ConstKernelInfo info(handle);
        const auto whole = [&](const char* name) { return info.GetAttribute<int64_t>(name); };
        attributes_ = {info.GetAttribute<float>("score_threshold"), info.GetAttribute<float>("iou_threshold"),
                       info.GetAttribute<float>("beta"),            whole("pre_nms_top_k"),
                       whole("max_detections"),                     whole("class_agnostic") != 0};
        const char* fault = edgedet::fault_of(attributes_);
        require(fault == nullptr, fault);
    }

    // Sessions may be run from several threads at once: nothing is kept here.
    OrtStatusPtr ComputeV2(OrtKernelContext* handle) const {
        return status_of([&] { compute(handle); });
    }

private:
    void compute(OrtKernelContext* handle) const {
        Ort::KernelContext context(handle);
        const auto boxes = context.GetInput(0), scores = context.GetInput(1);
        const auto shape = boxes.GetTensorTypeAndShapeInfo().GetShape();
        const auto score_shape = scores.GetTensorTypeAndShapeInfo().GetShape();
        require(shape.size() == 3 && shape[2] == 4, "boxes [B, N, 4]");
        require(score_shape.size() == 3 && score_shape[0] == shape[0] && score_shape[1] == shape[1],
                "scores [B, N, C] for boxes [B, N, 4]");
        const int64_t images = shape[0], count = shape[1], classes = score_shape[2], rows = attributes_.max_detections;
        require(classes == 0 || count <= UINT32_MAX / classes, "fewer than 2^32 pairs of box and class");
        auto* num_dets = edgedet::onnxruntime::output<int32_t>(context, 0, {images, 1});
        auto* det_boxes = edgedet::onnxruntime::output<Float>(context, 1, {images, rows, 4});
        auto* det_scores = edgedet::onnxruntime::output<Float>(context, 2, {images, rows});
        auto* det_classes = edgedet::onnxruntime::output<int32_t>(context, 3, {images, rows});
        std::vector<float> boxes_as_floats, scores_as_floats;
        for (int64_t image = 0; image < images; ++image) {
            const Float* image_boxes = boxes.GetTensorData<Float>() + image * count * 4;
            const Float* image_scores = scores.GetTensorData<Float>() + image * count * classes;
            const float* corners = floats(image_boxes, count * 4, boxes_as_floats);
            const auto kept =
                edgedet::cpu::diou_nms(reinterpret_cast<const edgedet::Box*>(corners),
                                       floats(image_scores, count * classes, scores_as_floats), count, classes, attributes_);
            const auto found = static_cast<int64_t>(kept.size());
            num_dets[image] = static_cast<int32_t>(found);
            for (int64_t row = 0; row < rows; ++row, ++det_scores, ++det_classes, det_boxes += 4) {
                if (row < found) {
                    const int64_t flat = kept[static_cast<size_t>(row)];
                    std::copy_n(image_boxes + flat / classes * 4, 4, det_boxes);
                    *det_scores = image_scores[flat];
                    *det_classes = static_cast<int32_t>(flat % classes);
                } else {
                    std::fill_n(det_boxes, 4, Float{});
                    *det_scores = Float{};
                    *det_classes = -1;
                }
            }
        }
    }

    static void require(bool holds, const char* what) {
        if (!holds) throw Ort::Exception(std::string("EdgeDetDIoUNMS takes ") + what, ORT_INVALID_ARGUMENT);
    }

    edgedet::DIoUNMS attributes_{};
};

template <typename Float>
struct MishKernel {
    static constexpr const char* NAME = "EdgeDetMish";
    static constexpr size_t INPUTS = 1, OUTPUTS = 1;

    static constexpr ONNXTensorElementDataType input(size_t) { return Ort::TypeToTensorType<Float>::type; }
    static constexpr ONNXTensorElementDataType output(size_t) { return Ort::TypeToTensorType<Float>::type; }

    explicit MishKernel(const OrtKernelInfo*) {}

    OrtStatusPtr ComputeV2(OrtKernelContext* handle) const {
        return status_of([&] {
            Ort::KernelContext context(handle);
            const auto values = context.GetInput(0);
            const auto info = values.GetTensorTypeAndShapeInfo();
            const auto count = static_cast<int64_t>(info.GetElementCount());
            auto* made = edgedet::onnxruntime::output<Float>(context, 0, info.GetShape());
            const auto* given = values.GetTensorData<Float>();
            if constexpr (std::is_same_v<Float, double>) {
                std::transform(given, given + count, made, [](double x) { return edgedet::mish(x); });
            } else if constexpr (std::is_same_v<Float, float>) {
                edgedet::cpu::mish(given, made, count);
            } else {
                std::vector<float> converted;
                const float* given_floats = floats(given, count, converted);
                edgedet::cpu::mish(given_floats, converted.data(), count);  // in place
                std::transform(converted.begin(), converted.end(), made, [](float value) { return Float(value); });
            }
        });
    }
};

}  // namespace

extern "C" __attribute__((visibility("default"))) OrtStatus* RegisterCustomOps(OrtSessionOptions* options,
                                                                               const OrtApiBase* base) {
    const OrtApi* api = base->GetApi(API_VERSION);
    if (api == nullptr) return nullptr;  // an ONNX Runtime before 1.17 computes the function bodies
    Ort::InitApi(api);
    return status_of([&] {
        static Ort::CustomOpDomain domain("edgedet");
        static const bool filled = [] {
            add<DIoUNMSKernel, float, double, Ort::Float16_t, Ort::BFloat16_t>(domain);
            add<MishKernel, float, double, Ort::Float16_t, Ort::BFloat16_t>(domain);
            add<GatedConvKernel, float, uint8_t>(domain);  // the types that the function bodies are defined for
            return true;
        }();
        (void)filled;
        Ort::UnownedSessionOptions(options).Add(domain);
    });
}
