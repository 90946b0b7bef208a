#include "tensorrt/gated_conv.h"

#include "cuda/gated_conv.h"

namespace edgedet {
namespace tensorrt {

// One allocation for as long as a plugin holds it.
struct GatedConv::OnDevice {
    void* packed = nullptr;
    bool always_open = false;

    OnDevice() = default;
    OnDevice(const OnDevice&) = delete;
    OnDevice& operator=(const OnDevice&) = delete;
    ~OnDevice() { cudaFree(packed); }
};

namespace {

using Attributes = GatedConv::Attributes;

Granularity granularity_of(const Attributes& a) {
    return a.granularity == "element" ? Granularity::element
           : a.granularity == "pixel" ? Granularity::pixel
                                      : Granularity::tile;
}

edgedet::GatedConv gate_of(const Attributes& a) {
    return {a.step,       a.lowest,  a.highest, granularity_of(a), a.tile,    a.strides[0],
            a.strides[1], a.pads[0], a.pads[1], a.pads[2],         a.pads[3], a.group};
}

cuda::GatedSizes sizes_of(const Attributes& a) {
    return {a.weights_shape[0], a.weights_shape[1], a.weights_shape[2], a.weights_shape[3]};
}

cuda::GatedWeights weights_of(const Attributes& a) {
    return {a.x_scale,       a.weights.data(), a.weight_scale.data(), a.threshold.data(), a.sign.data(), a.bias.data()};
}

cuda::GatedImages images_of(const nvinfer1::Dims& x) { return {x.d[0], x.d[2], x.d[3]}; }

cuda::GatedLayer layer_of(const Attributes& a) {
    const GatedConv::OnDevice* on_device = a.on_device.get();
    const bool always_open = on_device != nullptr && on_device->always_open;
    return {gate_of(a), sizes_of(a), a.x_scale, always_open, on_device == nullptr ? nullptr : on_device->packed};
}

// (size + both pads - kernel) / stride + 1.
const nvinfer1::IDimensionExpr* result_side(const nvinfer1::IDimensionExpr* size, int32_t more, int32_t stride,
                                            nvinfer1::IExprBuilder& builder) {
    using nvinfer1::DimensionOperation;
    if (more == -1 && stride == 1) return size;
    const auto* room = builder.operation(DimensionOperation::kSUM, *size, *builder.constant(more));
    if (stride > 1) room = builder.operation(DimensionOperation::kFLOOR_DIV, *room, *builder.constant(stride));
    return builder.operation(DimensionOperation::kSUM, *room, *builder.constant(1));
}

}  // namespace

const Table& GatedConv::table() {
    using nvinfer1::PluginFieldType;
    static const Table fields{
        {"step", PluginFieldType::kINT32, offsetof(Attributes, step), true},
        {"lowest", PluginFieldType::kINT32, offsetof(Attributes, lowest), true},
        {"highest", PluginFieldType::kINT32, offsetof(Attributes, highest), true},
        {"tile", PluginFieldType::kINT32, offsetof(Attributes, tile), true},
        {"group", PluginFieldType::kINT32, offsetof(Attributes, group), true},
        {"x_scale", PluginFieldType::kFLOAT32, offsetof(Attributes, x_scale), true},
        {"granularity", PluginFieldType::kCHAR, offsetof(Attributes, granularity), true, true},
        {"strides", PluginFieldType::kINT32, offsetof(Attributes, strides), true, true},
        {"pads", PluginFieldType::kINT32, offsetof(Attributes, pads), true, true},
        {"weights_shape", PluginFieldType::kINT32, offsetof(Attributes, weights_shape), true, true},
        {"weights", PluginFieldType::kINT8, offsetof(Attributes, weights), true, true},
        {"weight_scale", PluginFieldType::kFLOAT32, offsetof(Attributes, weight_scale), true, true},
        {"threshold", PluginFieldType::kFLOAT32, offsetof(Attributes, threshold), true, true},
        {"sign", PluginFieldType::kFLOAT32, offsetof(Attributes, sign), true, true},
        {"bias", PluginFieldType::kFLOAT32, offsetof(Attributes, bias), true, true},
    };
    return fields;
}

std::string GatedConv::fault_of(const Attributes& a) {
    const std::string takes = "it takes ";
    if (a.granularity != "element" && a.granularity != "pixel" && a.granularity != "tile")
        return takes + "granularity: element, pixel or tile";
    if (a.strides.size() != 2) return takes + "two strides";
    if (a.pads.size() != 4) return takes + "four pads";
    if (a.weights_shape.size() != 4) return takes + "weights [O, C / group, kh, kw]";
    const char* fault = edgedet::fault_of(gate_of(a));
    if (fault == nullptr) fault = cuda::limit_of(gate_of(a), sizes_of(a));
    if (fault != nullptr) return takes + fault;
    const cuda::GatedSizes sizes = sizes_of(a);
    const auto outputs = static_cast<size_t>(sizes.outputs);
    if (a.weights.size() != static_cast<size_t>(sizes.outputs * sizes.inputs * sizes.height * sizes.width))
        return takes + "as many weights as weights_shape says";
    for (const std::vector<float>* values : {&a.weight_scale, &a.threshold, &a.sign, &a.bias})
        if (values->size() != outputs)
            return takes + "weight_scale, threshold, sign and bias of " + std::to_string(outputs) + " values";
    fault = cuda::fault_of(sizes, weights_of(a));
    return fault == nullptr ? "" : takes + fault;
}

bool GatedConv::takes(const Attributes&, int32_t, nvinfer1::DataType type, nvinfer1::TensorFormat format) {
    using nvinfer1::DataType;
    return format == nvinfer1::TensorFormat::kLINEAR && (type == DataType::kFLOAT || type == DataType::kHALF);
}

nvinfer1::DataType GatedConv::output_type(int32_t, const nvinfer1::DataType* inputs) { return inputs[0]; }

bool GatedConv::output_shape(const Attributes& a, int32_t, const nvinfer1::DimsExprs* inputs,
                             nvinfer1::IExprBuilder& builder, nvinfer1::DimsExprs& shape) {
    if (inputs[0].nbDims != 4) return false;
    shape = inputs[0];
    shape.d[1] = builder.constant(a.weights_shape[0]);
    shape.d[2] = result_side(inputs[0].d[2], a.pads[0] + a.pads[2] - a.weights_shape[2], a.strides[0], builder);
    shape.d[3] = result_side(inputs[0].d[3], a.pads[1] + a.pads[3] - a.weights_shape[3], a.strides[1], builder);
    return true;
}

std::string GatedConv::fault_of(const Attributes& a, const nvinfer1::Dims* inputs) {
    const int64_t channels = int64_t{a.weights_shape[1]} * a.group;
    if (inputs[0].nbDims != 4 || inputs[0].d[1] != channels)
        return "it takes x [B, " + std::to_string(channels) + ", H, W]";
    const char* fault = cuda::limit_of(gate_of(a), sizes_of(a), images_of(inputs[0]));
    return fault == nullptr ? "" : std::string("it takes ") + fault;
}

size_t GatedConv::workspace_bytes(const Attributes& a, const nvinfer1::Dims* inputs) {
    cuda::GatedLayer layer = layer_of(a);
    layer.always_open = false;  // as long as it is not known
    return cuda::workspace_bytes(layer, images_of(inputs[0]));
}

cudaError_t GatedConv::prepare(const Attributes& a) {
    if (a.on_device != nullptr) return cudaSuccess;
    std::vector<char> packed(cuda::packed_bytes(gate_of(a), sizes_of(a)) + alignof(std::max_align_t));
    const size_t start = -reinterpret_cast<uintptr_t>(packed.data()) % alignof(std::max_align_t);
    cuda::pack(gate_of(a), sizes_of(a), weights_of(a), packed.data() + start);
    const auto made = std::make_shared<OnDevice>();
    made->always_open = cuda::is_always_open(gate_of(a), sizes_of(a), weights_of(a));
    const size_t bytes = packed.size() - alignof(std::max_align_t);
    cudaError_t status = cudaMalloc(&made->packed, bytes);
    if (status == cudaSuccess)
        status = cudaMemcpy(made->packed, packed.data() + start, bytes, cudaMemcpyHostToDevice);
    if (status == cudaSuccess) a.on_device = made;
    return status;
}

cudaError_t GatedConv::run(const Attributes& a, const nvinfer1::PluginTensorDesc* inputs, const void* const* given,
                           void* const* made, void* workspace, cudaStream_t stream) {
    const cudaError_t status = prepare(a);
    if (status != cudaSuccess) return status;
    const auto type = inputs[0].type == nvinfer1::DataType::kHALF ? cuda::Float::HALF : cuda::Float::SINGLE;
    return cuda::gated_conv(layer_of(a), images_of(inputs[0].dims), type, given[0], made[0], workspace, stream);
}

}  // namespace tensorrt
}  // namespace edgedet
