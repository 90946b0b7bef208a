// The gated convolution as two operators: what the inputs of edgedet/ops/gated_conv/body.py mean to the kernel. One is of
// float32 on a grid; that of bytes takes the zero point of `x` and the grid of `y` too.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "cpu/gated_conv.h"
#include "onnxruntime/operator.h"

namespace edgedet::onnxruntime {

template <typename Value>
class GatedConvKernel {
public:
    static constexpr bool OF_BYTES = std::is_same_v<Value, uint8_t>;
    static constexpr const char* NAME = OF_BYTES ? "EdgeDetQGatedConv" : "EdgeDetGatedConv";
    static constexpr size_t INPUTS = OF_BYTES ? 11 : 8, OUTPUTS = 1;

    static constexpr ONNXTensorElementDataType input(size_t index) {
        if (index == WEIGHTS) return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8;
        const bool is_value = index == X || index == X_ZERO_POINT || index == Y_ZERO_POINT;
        return is_value ? Ort::TypeToTensorType<Value>::type : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
    }
    static constexpr ONNXTensorElementDataType output(size_t) { return Ort::TypeToTensorType<Value>::type; }

    explicit GatedConvKernel(const OrtKernelInfo* handle) {
        const Ort::ConstKernelInfo info(handle);
        const edgedet::GatedConv gate = attributes(info);
        const float x_scale = scale_of(info, X_SCALE, "x_scale");
        edgedet::cpu::Grid x{x_scale, 0}, y{1, 0};
        if constexpr (OF_BYTES) {
            x.zero_point = *constant<uint8_t>(info, X_ZERO_POINT, "x_zero_point", 1);
            y = {scale_of(info, Y_SCALE, "y_scale"), *constant<uint8_t>(info, Y_ZERO_POINT, "y_zero_point", 1)};
        }
        require(*constant<float>(info, HIGH_SCALE, "high_scale", 1) == x_scale * static_cast<float>(gate.step),
                "high_scale of step times x_scale");
        int is_constant = 0;
        const auto weights = info.GetTensorConstantInput(WEIGHTS, &is_constant);
        require(is_constant != 0, "weights that are constant");
        const auto shape = weights.GetTensorTypeAndShapeInfo().GetShape();
        const auto fits = [](int64_t length) { return length >= 1 && length <= MOST_DEPTH; };
        require(shape.size() == 4 && std::all_of(shape.begin(), shape.end(), fits) &&
                    shape[1] * shape[2] <= MOST_DEPTH && shape[1] * shape[2] * shape[3] <= MOST_DEPTH,
                "weights [O, C / group, kh, kw] of at most 65536 values for each output");
        const int64_t outputs = shape[0];
        require(outputs % gate.groups == 0, "as many output channels for each group");
        const auto* scale = constant<float>(info, WEIGHT_SCALE, "weight_scale", outputs);
        require(std::all_of(scale, scale + outputs, [](float one) { return std::isfinite(one) && one > 0; }),
                "weight_scale above 0");
        const edgedet::cpu::GatedWeights packed{weights.template GetTensorData<int8_t>(),
                                                outputs,
                                                shape[1],
                                                shape[2],
                                                shape[3],
                                                scale,
                                                constant<float>(info, THRESHOLD, "threshold", outputs),
                                                constant<float>(info, SIGN, "sign", outputs),
                                                constant<float>(info, BIAS, "bias", outputs)};
        convolution_ = std::make_unique<edgedet::cpu::GatedConvolution<Value>>(gate, x, y, packed);
    }

    OrtStatusPtr ComputeV2(OrtKernelContext* handle) const {
        return status_of([&] { compute(handle); });
    }

private:
    enum Input : size_t {
        X, X_SCALE, HIGH_SCALE, WEIGHTS, WEIGHT_SCALE, THRESHOLD, SIGN, BIAS, X_ZERO_POINT, Y_SCALE, Y_ZERO_POINT
    };
    static constexpr int64_t MOST_DEPTH = 65536;  // sums of more might not fit into 32 bits

    // Every image's bands, shared among the session's threads.
    struct Work {
        const edgedet::cpu::GatedConvolution<Value>& convolution;
        const Value* x;
        Value* y;
        int64_t height, width, bands, image_of_x, image_of_y;
        std::atomic<bool> failed{false};

        void run(int64_t index) noexcept try {
            const int64_t image = index / bands;
            convolution.run(x + image * image_of_x, height, width, index % bands, y + image * image_of_y);
        } catch (...) {
            failed = true;  // of memory there was too little
        }
    };

    void compute(OrtKernelContext* handle) const {
        Ort::KernelContext context(handle);
        const auto x = context.GetInput(X);
        const auto shape = x.GetTensorTypeAndShapeInfo().GetShape();
        require(shape.size() == 4 && shape[1] == convolution_->channels(),
                "x [B, " + std::to_string(convolution_->channels()) + ", H, W]");
        const int64_t height = shape[2], width = shape[3];
        const int64_t rows = convolution_->result_height(height), columns = convolution_->result_width(width);
        require(rows > 0 && columns > 0, "images that the weights fit into");
        auto* y = onnxruntime::output<Value>(context, 0, {shape[0], convolution_->outputs(), rows, columns});
        Work work{*convolution_,
                  x.template GetTensorData<Value>(),
                  y,
                  height,
                  width,
                  convolution_->bands(height, width),
                  shape[1] * height * width,
                  convolution_->outputs() * rows * columns};
        const auto run = [](void* all, size_t index) { static_cast<Work*>(all)->run(static_cast<int64_t>(index)); };
        context.ParallelFor(run, static_cast<size_t>(shape[0] * work.bands), 0, &work);
        if (work.failed) throw Ort::Exception(std::string(NAME) + ": out of memory", ORT_FAIL);
    }

    static edgedet::GatedConv attributes(const Ort::ConstKernelInfo& info) {
        const auto whole = [&](const char* name) { return info.GetAttribute<int64_t>(name); };
        const auto strides = info.GetAttributes<int64_t>("strides"), pads = info.GetAttributes<int64_t>("pads");
        require(strides.size() == 2, "two strides");
        require(pads.size() == 4, "four pads");
        const edgedet::GatedConv gate{whole("step"),
                                      whole("lowest"),
                                      whole("highest"),
                                      granularity(info.GetAttribute<std::string>("granularity")),
                                      whole("tile"),
                                      strides[0],
                                      strides[1],
                                      pads[0],
                                      pads[1],
                                      pads[2],
                                      pads[3],
                                      whole("group")};
        const char* fault = edgedet::fault_of(gate);
        require(fault == nullptr, fault == nullptr ? "" : fault);
        return gate;
    }

    static float scale_of(const Ort::ConstKernelInfo& info, size_t index, const char* name) {
        const float scale = *constant<float>(info, index, name, 1);
        require(std::isnormal(scale) && scale > 0, std::string(name) + " above 0");
        return scale;
    }

    static edgedet::Granularity granularity(const std::string& name) {
        if (name == "element") return edgedet::Granularity::element;
        if (name == "pixel") return edgedet::Granularity::pixel;
        require(name == "tile", "granularity: element, pixel or tile, not '" + name + "'");
        return edgedet::Granularity::tile;
    }

    template <typename Type>
    static const Type* constant(const Ort::ConstKernelInfo& info, size_t index, const char* name, int64_t count) {
        int is_constant = 0;
        const auto value = info.GetTensorConstantInput(index, &is_constant);
        require(is_constant != 0, std::string(name) + " that is constant");
        const auto found = static_cast<int64_t>(value.GetTensorTypeAndShapeInfo().GetElementCount());
        require(found == count, std::string(name) + " of " + std::to_string(count) + " values");
        return value.template GetTensorData<Type>();
    }

    static void require(bool holds, const std::string& what) {
        if (!holds)
            throw Ort::Exception(std::string(NAME) + " takes " + what + ": export the model again", ORT_INVALID_ARGUMENT);
    }

    std::unique_ptr<edgedet::cpu::GatedConvolution<Value>> convolution_;
};

}  // namespace edgedet::onnxruntime
