// An operator as TensorRT 10 and later ask for it: IPluginV3.
#pragma once

#include <NvInferRuntime.h>

#include <array>
#include <new>
#include <vector>

#include "tensorrt/combination.h"
#include "tensorrt/fields.h"
#include "tensorrt/log.h"

namespace edgedet {
namespace tensorrt {

constexpr const char* VERSION = "1";
constexpr const char* NAMESPACE = "";  // the parser looks here for a node that names none

template <typename Operator>
class PluginV3 final : public nvinfer1::IPluginV3,
                       public nvinfer1::IPluginV3OneCore,
                       public nvinfer1::IPluginV3OneBuild,
                       public nvinfer1::IPluginV3OneRuntime {
public:
    using Attributes = typename Operator::Attributes;

    explicit PluginV3(const Attributes& attributes) : attributes_(attributes) {}

    nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override {
        switch (type) {
            case nvinfer1::PluginCapabilityType::kCORE: return static_cast<IPluginV3OneCore*>(this);
            case nvinfer1::PluginCapabilityType::kBUILD: return static_cast<IPluginV3OneBuild*>(this);
            case nvinfer1::PluginCapabilityType::kRUNTIME: return static_cast<IPluginV3OneRuntime*>(this);
        }
        return nullptr;
    }

    nvinfer1::IPluginV3* clone() noexcept override { return new (std::nothrow) PluginV3(attributes_); }

    const char* getPluginName() const noexcept override { return Operator::NAME; }
    const char* getPluginVersion() const noexcept override { return VERSION; }
    const char* getPluginNamespace() const noexcept override { return NAMESPACE; }

    int32_t getNbOutputs() const noexcept override { return Operator::OUTPUTS; }

    int32_t getOutputDataTypes(nvinfer1::DataType* types, int32_t outputs, const nvinfer1::DataType* input_types,
                               int32_t inputs) const noexcept override {
        if (!has_all<Operator>(inputs, outputs)) return FAILED;
        for (int32_t output = 0; output < outputs; ++output) types[output] = Operator::output_type(output, input_types);
        return DONE;
    }

    int32_t getOutputShapes(const nvinfer1::DimsExprs* inputs, int32_t input_count, const nvinfer1::DimsExprs*, int32_t,
                            nvinfer1::DimsExprs* outputs, int32_t output_count,
                            nvinfer1::IExprBuilder& builder) noexcept override {
        if (!has_all<Operator>(input_count, output_count)) return FAILED;
        for (int32_t output = 0; output < output_count; ++output) {
            if (Operator::output_shape(attributes_, output, inputs, builder, outputs[output])) continue;
            return failed("its inputs have other numbers of dimensions");
        }
        return DONE;
    }

    bool supportsFormatCombination(int32_t position, const nvinfer1::DynamicPluginTensorDesc* tensors, int32_t inputs,
                                   int32_t outputs) noexcept override {
        return supports<Operator>(
            attributes_, position, inputs, outputs,
            [tensors](int32_t index) -> const nvinfer1::PluginTensorDesc& { return tensors[index].desc; });
    }

    int32_t configurePlugin(const nvinfer1::DynamicPluginTensorDesc* inputs, int32_t input_count,
                            const nvinfer1::DynamicPluginTensorDesc*, int32_t output_count) noexcept override {
        return has_all<Operator>(input_count, output_count) ? checked(largest_of(inputs)) : FAILED;
    }

    size_t getWorkspaceSize(const nvinfer1::DynamicPluginTensorDesc* inputs, int32_t input_count,
                            const nvinfer1::DynamicPluginTensorDesc*, int32_t) const noexcept override {
        return input_count == Operator::INPUTS ? Operator::workspace_bytes(attributes_, largest_of(inputs).data()) : 0;
    }

    int32_t onShapeChange(const nvinfer1::PluginTensorDesc* inputs, int32_t input_count,
                          const nvinfer1::PluginTensorDesc*, int32_t output_count) noexcept override {
        if (!has_all<Operator>(input_count, output_count)) return FAILED;
        Shapes shapes;
        for (size_t input = 0; input < shapes.size(); ++input) shapes[input] = inputs[input].dims;
        return checked(shapes);
    }

    int32_t enqueue(const nvinfer1::PluginTensorDesc* inputs, const nvinfer1::PluginTensorDesc*,
                    const void* const* given, void* const* made, void* workspace,
                    cudaStream_t stream) noexcept override {
        const cudaError_t status = Operator::run(attributes_, inputs, given, made, workspace, stream);
        return status == cudaSuccess ? DONE : failed(cudaGetErrorString(status));
    }

    nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext*) noexcept override {
        const cudaError_t status = Operator::prepare(attributes_);
        if (status == cudaSuccess) return clone();
        failed(cudaGetErrorString(status));
        return nullptr;
    }

    const nvinfer1::PluginFieldCollection* getFieldsToSerialize() noexcept override {
        fields_ = fields_of(Operator::table(), &attributes_);
        collection_ = {static_cast<int32_t>(fields_.size()), fields_.data()};
        return &collection_;
    }

private:
    static constexpr int32_t DONE = 0, FAILED = -1;

    static int32_t failed(const std::string& what) noexcept {
        log_error(std::string(Operator::NAME) + ": " + what);
        return FAILED;
    }

    using Shapes = std::array<nvinfer1::Dims, Operator::INPUTS>;

    static Shapes largest_of(const nvinfer1::DynamicPluginTensorDesc* inputs) noexcept {
        Shapes shapes;
        for (size_t input = 0; input < shapes.size(); ++input) shapes[input] = inputs[input].max;
        return shapes;
    }

    int32_t checked(const Shapes& shapes) const noexcept {
        const std::string fault = Operator::fault_of(attributes_, shapes.data());
        return fault.empty() ? DONE : failed(fault);
    }

    const Attributes attributes_;
    std::vector<nvinfer1::PluginField> fields_;
    nvinfer1::PluginFieldCollection collection_{};
};

template <typename Operator>
class CreatorV3 final : public nvinfer1::IPluginCreatorV3One {
public:
    // What a file says and what an engine holds are the same fields.
    nvinfer1::IPluginV3* createPlugin(const char*, const nvinfer1::PluginFieldCollection* given,
                                      nvinfer1::TensorRTPhase) noexcept override {
        typename Operator::Attributes attributes{};
        std::string fault = read_fields(Operator::table(), given, &attributes);
        if (fault.empty()) fault = Operator::fault_of(attributes);
        if (fault.empty()) return new (std::nothrow) PluginV3<Operator>(attributes);
        log_error(std::string(Operator::NAME) + ": " + fault);
        return nullptr;
    }

    const nvinfer1::PluginFieldCollection* getFieldNames() noexcept override { return &collection_; }
    const char* getPluginName() const noexcept override { return Operator::NAME; }
    const char* getPluginVersion() const noexcept override { return VERSION; }
    const char* getPluginNamespace() const noexcept override { return NAMESPACE; }

private:
    const std::vector<nvinfer1::PluginField> names_ = names_of(Operator::table());
    const nvinfer1::PluginFieldCollection collection_{static_cast<int32_t>(names_.size()), names_.data()};
};

}  // namespace tensorrt
}  // namespace edgedet
