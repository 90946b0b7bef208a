// An operator as TensorRT 8 asks for it, JetPack 4.6 to 6.0's: IPluginV2DynamicExt.
#pragma once

#include <NvInferRuntime.h>

#include <cstring>
#include <new>
#include <vector>

#include "tensorrt/combination.h"
#include "tensorrt/fields.h"
#include "tensorrt/log.h"

namespace edgedet {
namespace tensorrt {

template <typename Operator>
class PluginV2 final : public nvinfer1::IPluginV2DynamicExt {
public:
    using Attributes = typename Operator::Attributes;

    explicit PluginV2(const Attributes& attributes) : attributes_(attributes) {}

    const char* getPluginType() const noexcept override { return Operator::NAME; }
    const char* getPluginVersion() const noexcept override { return "1"; }
    int32_t getNbOutputs() const noexcept override { return Operator::OUTPUTS; }
    int32_t initialize() noexcept override {
        const cudaError_t status = Operator::prepare(attributes_);
        if (status != cudaSuccess) log_error(std::string(Operator::NAME) + ": " + cudaGetErrorString(status));
        return status == cudaSuccess ? 0 : 1;
    }
    void terminate() noexcept override {}
    void destroy() noexcept override { delete this; }

    nvinfer1::IPluginV2DynamicExt* clone() const noexcept override {
        auto* copy = new (std::nothrow) PluginV2(attributes_);
        if (copy != nullptr) copy->namespace_ = namespace_;
        return copy;
    }

    void setPluginNamespace(const char* given) noexcept override { namespace_ = given == nullptr ? "" : given; }
    const char* getPluginNamespace() const noexcept override { return namespace_.c_str(); }

    // What is read back by CreatorV2::deserializePlugin.
    size_t getSerializationSize() const noexcept override {
        return stored_fields(Operator::table(), &attributes_).size();
    }
    void serialize(void* buffer) const noexcept override {
        const std::vector<char> bytes = stored_fields(Operator::table(), &attributes_);
        std::memcpy(buffer, bytes.data(), bytes.size());
    }

    nvinfer1::DataType getOutputDataType(int32_t output, const nvinfer1::DataType* inputs,
                                         int32_t) const noexcept override {
        return Operator::output_type(output, inputs);
    }

    nvinfer1::DimsExprs getOutputDimensions(int32_t output, const nvinfer1::DimsExprs* inputs, int32_t input_count,
                                            nvinfer1::IExprBuilder& builder) noexcept override {
        nvinfer1::DimsExprs shape{};
        shape.nbDims = -1;
        if (input_count != Operator::INPUTS || !Operator::output_shape(attributes_, output, inputs, builder, shape))
            log_error(std::string(Operator::NAME) + ": its inputs have other numbers of dimensions");
        return shape;
    }

    bool supportsFormatCombination(int32_t position, const nvinfer1::PluginTensorDesc* tensors, int32_t inputs,
                                   int32_t outputs) noexcept override {
        return supports<Operator>(
            attributes_, position, inputs, outputs,
            [tensors](int32_t index) -> const nvinfer1::PluginTensorDesc& { return tensors[index]; });
    }

    void configurePlugin(const nvinfer1::DynamicPluginTensorDesc*, int32_t, const nvinfer1::DynamicPluginTensorDesc*,
                         int32_t) noexcept override {}

    size_t getWorkspaceSize(const nvinfer1::PluginTensorDesc* inputs, int32_t, const nvinfer1::PluginTensorDesc*,
                            int32_t) const noexcept override {
        nvinfer1::Dims shapes[Operator::INPUTS];
        shapes_of(inputs, shapes);
        return Operator::workspace_bytes(attributes_, shapes);
    }

    int32_t enqueue(const nvinfer1::PluginTensorDesc* inputs, const nvinfer1::PluginTensorDesc*,
                    const void* const* given, void* const* made, void* workspace,
                    cudaStream_t stream) noexcept override {
        nvinfer1::Dims shapes[Operator::INPUTS];
        shapes_of(inputs, shapes);
        std::string fault = Operator::fault_of(attributes_, shapes);
        if (fault.empty()) {
            const cudaError_t status = Operator::run(attributes_, inputs, given, made, workspace, stream);
            if (status == cudaSuccess) return 0;
            fault = cudaGetErrorString(status);
        }
        log_error(std::string(Operator::NAME) + ": " + fault);
        return 1;
    }

private:
    static void shapes_of(const nvinfer1::PluginTensorDesc* inputs, nvinfer1::Dims* shapes) {
        for (int32_t input = 0; input < Operator::INPUTS; ++input) shapes[input] = inputs[input].dims;
    }

    const Attributes attributes_;
    std::string namespace_;
};

template <typename Operator>
class CreatorV2 final : public nvinfer1::IPluginCreator {
public:
    using Attributes = typename Operator::Attributes;

    nvinfer1::IPluginV2* createPlugin(const char*, const nvinfer1::PluginFieldCollection* given) noexcept override {
        Attributes attributes{};
        const std::string fault = read_fields(Operator::table(), given, &attributes);
        return fault.empty() ? made(attributes) : refused(fault);
    }

    nvinfer1::IPluginV2* deserializePlugin(const char*, const void* data, size_t bytes) noexcept override {
        Attributes attributes{};
        const std::string fault = restore_fields(Operator::table(), data, bytes, &attributes);
        return fault.empty() ? made(attributes) : refused(fault);
    }

    const nvinfer1::PluginFieldCollection* getFieldNames() noexcept override { return &collection_; }
    const char* getPluginName() const noexcept override { return Operator::NAME; }
    const char* getPluginVersion() const noexcept override { return "1"; }
    void setPluginNamespace(const char* given) noexcept override { namespace_ = given == nullptr ? "" : given; }
    const char* getPluginNamespace() const noexcept override { return namespace_.c_str(); }

private:
    nvinfer1::IPluginV2* made(const Attributes& attributes) const noexcept {
        const std::string fault = Operator::fault_of(attributes);
        if (!fault.empty()) return refused(fault);
        auto* plugin = new (std::nothrow) PluginV2<Operator>(attributes);
        if (plugin != nullptr) plugin->setPluginNamespace(namespace_.c_str());
        return plugin;
    }

    static nvinfer1::IPluginV2* refused(const std::string& fault) noexcept {
        log_error(std::string(Operator::NAME) + ": " + fault);
        return nullptr;
    }

    std::string namespace_;
    std::vector<nvinfer1::PluginField> names_ = names_of(Operator::table());
    nvinfer1::PluginFieldCollection collection_{static_cast<int32_t>(names_.size()), names_.data()};
};

}  // namespace tensorrt
}  // namespace edgedet
