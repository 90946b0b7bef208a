// Whether types and layouts go together, for both interfaces of plugins.
#pragma once

#include <NvInferRuntime.h>

namespace edgedet {
namespace tensorrt {

template <typename Operator>
bool has_all(int32_t inputs, int32_t outputs) {
    return inputs == Operator::INPUTS && outputs == Operator::OUTPUTS;
}

// `tensor_at` gives the description of an input, or behind these of an output. Those behind `position` are not settled
// yet and not looked at. An output has the type that follows from the inputs', and the first input's layout.
template <typename Operator, typename TensorAt>
bool supports(const typename Operator::Attributes& attributes, int32_t position, int32_t inputs, int32_t outputs,
              TensorAt tensor_at) {
    if (!has_all<Operator>(inputs, outputs) || position < 0 || position >= inputs + outputs) return false;
    const nvinfer1::PluginTensorDesc& tensor = tensor_at(position);
    if (!Operator::takes(attributes, position, tensor.type, tensor.format)) return false;
    if (position < inputs) return true;
    nvinfer1::DataType input_types[Operator::INPUTS];
    for (int32_t input = 0; input < inputs; ++input) input_types[input] = tensor_at(input).type;
    return tensor.type == Operator::output_type(position - inputs, input_types) &&
           tensor.format == tensor_at(0).format;
}

}  // namespace tensorrt
}  // namespace edgedet
