"""edgedet's own PyTorch operators as ONNX nodes, for PyTorch's exporter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx
import torch
from onnxscript import opset18

from edgedet.models.quantized.fake_quantize import PER_TENSOR

# Its methods are typed for eager tensors, not for the values of the graph that the exporter builds.
op: Any = opset18


def quantize_dequantize(x: Any, scale: Any, axis: int, highest: int) -> Any:
    """`edgedet::fake_quantize` as QuantizeLinear and DequantizeLinear with zero points of 0, int8.

    ONNX's grid ends at 127 whatever `highest` is: weights are clipped before, when normalisation is folded into them.
    """
    shape = [] if axis == PER_TENSOR else [int(scale.shape[0])]
    zeros = onnx.helper.make_tensor("zero_point", onnx.TensorProto.INT8, shape, [0] * (shape[0] if shape else 1))
    zero_point = op.Constant(value=zeros)
    if axis == PER_TENSOR:
        return op.DequantizeLinear(op.QuantizeLinear(x, scale, zero_point), scale, zero_point)
    return op.DequantizeLinear(op.QuantizeLinear(x, scale, zero_point, axis=axis), scale, zero_point, axis=axis)


TRANSLATIONS: Mapping[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.edgedet.fake_quantize.default: quantize_dequantize
}
