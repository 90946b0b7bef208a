#include "tensorrt/mish.h"

#include "cuda/mish.h"
#include "kernels/mish.h"

namespace edgedet {
namespace tensorrt {
namespace {

bool is_quantized(const Mish::Attributes& attributes) { return attributes.input_scale != 0; }

// Channels that a layout keeps together, and pads to; 0 for a layout that is not taken.
int32_t packed_channels(nvinfer1::TensorFormat format) {
    using nvinfer1::TensorFormat;
    switch (format) {
        case TensorFormat::kLINEAR: return 1;
        case TensorFormat::kCHW2: return 2;
        case TensorFormat::kCHW4: return 4;
        case TensorFormat::kHWC8: return 8;
        case TensorFormat::kCHW16: return 16;
        case TensorFormat::kCHW32: return 32;
        default: return 0;
    }
}

// With the padding: Mish of its zeros is zero.
size_t stored_values(const nvinfer1::PluginTensorDesc& tensor) {
    const int32_t channels_at = tensor.dims.nbDims - 3, packed = packed_channels(tensor.format);
    size_t count = 1;
    for (int32_t axis = 0; axis < tensor.dims.nbDims; ++axis) {
        const auto size = static_cast<size_t>(tensor.dims.d[axis]);
        count *= axis == channels_at ? (size + packed - 1) / packed * packed : size;
    }
    return count;
}

}  // namespace

const Table& Mish::table() {
    using nvinfer1::PluginFieldType;
    static const Table fields{
        {"input_scale", PluginFieldType::kFLOAT32, offsetof(Attributes, input_scale), false},
        {"output_scale", PluginFieldType::kFLOAT32, offsetof(Attributes, output_scale), false},
    };
    return fields;
}

std::string Mish::fault_of(const Attributes& attributes) {
    const bool none = attributes.input_scale == 0 && attributes.output_scale == 0;
    const bool both = attributes.input_scale > 0 && attributes.output_scale > 0;
    return none || both ? "" : "it takes input_scale and output_scale above 0, or neither";
}

bool Mish::takes(const Attributes& attributes, int32_t, nvinfer1::DataType type, nvinfer1::TensorFormat format) {
    using nvinfer1::DataType;
    using nvinfer1::TensorFormat;
    const bool linear = format == TensorFormat::kLINEAR, in_fours = format == TensorFormat::kCHW4;
    const bool in_words = format == TensorFormat::kCHW32;
    if (is_quantized(attributes)) return type == DataType::kINT8 && (linear || in_fours || in_words);
    if (type == DataType::kHALF) return packed_channels(format) != 0;
    return type == DataType::kFLOAT && (linear || in_words);
}

nvinfer1::DataType Mish::output_type(int32_t, const nvinfer1::DataType* inputs) { return inputs[0]; }

bool Mish::output_shape(const Attributes&, int32_t, const nvinfer1::DimsExprs* inputs, nvinfer1::IExprBuilder&,
                        nvinfer1::DimsExprs& shape) {
    shape = inputs[0];
    return true;
}

std::string Mish::fault_of(const Attributes&, const nvinfer1::Dims*) { return ""; }

size_t Mish::workspace_bytes(const Attributes&, const nvinfer1::Dims*) { return 0; }

cudaError_t Mish::run(const Attributes& attributes, const nvinfer1::PluginTensorDesc* inputs, const void* const* given,
                      void* const* made, void*, cudaStream_t stream) {
    const size_t count = stored_values(inputs[0]);
    if (is_quantized(attributes)) {
        cuda::MishTable table;
        fill_mish_table(attributes.input_scale, attributes.output_scale, table.values);
        return cuda::mish(static_cast<const int8_t*>(given[0]), static_cast<int8_t*>(made[0]), count, table, stream);
    }
    if (inputs[0].type == nvinfer1::DataType::kHALF)
        return cuda::mish(static_cast<const __half*>(given[0]), static_cast<__half*>(made[0]), count, stream);
    return cuda::mish(static_cast<const float*>(given[0]), static_cast<float*>(made[0]), count, stream);
}

}  // namespace tensorrt
}  // namespace edgedet
