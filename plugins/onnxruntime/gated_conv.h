// The gated convolution as an operator: what the inputs of edgedet/ops/gated_conv/body.py mean to the kernel.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "cpu/gated_conv.h"
#include "onnxruntime/operator.h"

namespace edgedet::onnxruntime {

template <typename Float>
class GatedConvKernel {
public:
    static constexpr const char* NAME = "EdgeDetGatedConv";
    static constexpr size_t INPUTS = 7, OUTPUTS = 1;

    static constexpr bool is_int8(size_t index) { return index == WEIGHTS; }
    static constexpr bool is_int32(size_t) { return false; }

    explicit GatedConvKernel(const OrtKernelInfo* handle) {
        const Ort::ConstKernelInfo info(handle);
        const edgedet::GatedConv gate = attributes(info);
        const float x_scale = *constant<float>(info, X_SCALE, "x_scale", 1);
        require(std::isnormal(x_scale) && x_scale > 0, "x_scale above 0");
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
                                                constant<float>(info, SIGN, "sign", outputs)};
        convolution_ = std::make_unique<edgedet::cpu::GatedConvolution>(gate, x_scale, packed);
    }

    OrtStatusPtr ComputeV2(OrtKernelContext* handle) const {
        return status_of([&] { compute(handle); });
    }

private:
    enum Input : size_t { X, X_SCALE, HIGH_SCALE, WEIGHTS, WEIGHT_SCALE, THRESHOLD, SIGN };
    static constexpr int64_t MOST_DEPTH = 65536;  // sums of more might not fit into 32 bits

    // Every image's bands, shared among the session's threads.
    struct Work {
        const edgedet::cpu::GatedConvolution& convolution;
        const float* x;
        float* y;
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
        auto* y = output<float>(context, 0, {shape[0], convolution_->outputs(), rows, columns});
        Work work{*convolution_,
                  x.template GetTensorData<float>(),
                  y,
                  height,
                  width,
                  convolution_->bands(height, width),
                  shape[1] * height * width,
                  convolution_->outputs() * rows * columns};
        const auto run = [](void* all, size_t index) { static_cast<Work*>(all)->run(static_cast<int64_t>(index)); };
        context.ParallelFor(run, static_cast<size_t>(shape[0] * work.bands), 0, &work);
        if (work.failed) throw Ort::Exception("EdgeDetGatedConv: out of memory", ORT_FAIL);
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
            throw Ort::Exception("EdgeDetGatedConv takes " + what + ": export the model again", ORT_INVALID_ARGUMENT);
    }

    std::unique_ptr<edgedet::cpu::GatedConvolution> convolution_;
};

}  // namespace edgedet::onnxruntime
