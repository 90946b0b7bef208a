"""Whether ONNX Runtime runs a graph's quantized convolutions and matrix products as integer kernels.

It is told by the graph that ONNX Runtime makes of it.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto

from edgedet.errors import CheckFailedError

INTEGER_KERNELS = frozenset({"QLinearConv", "ConvInteger", "QGemm"})
PRODUCTS = frozenset({"Conv", "Gemm"})
"""The operators that they stand for."""


@dataclass(frozen=True)
class IntegerKernels:
    """What became of a graph's quantized convolutions and matrix products.

    Attributes:
        quantized: how many read integers and have integer weights.
        integer: how many of them run as integer kernels.
        other: how many run in float, since their inputs or results are.
    """

    quantized: int
    integer: int
    other: int


def integer_kernels(model: ModelProto) -> IntegerKernels:
    """Optimizes a graph with ONNX Runtime for the CPU and counts."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        optimized = onnx.load(options.optimized_model_filepath)
    ran = sum(node.op_type in INTEGER_KERNELS for node in optimized.graph.node)
    products = sum(node.op_type in PRODUCTS for node in model.graph.node)
    quantized = _quantized(model)
    return IntegerKernels(quantized, ran, products - quantized)


def require_integer_kernels(found: IntegerKernels, *, where: object = None) -> None:
    """Refuses a graph with a quantized convolution that runs in float: it would be slower than without quantizers.

    So is a graph without any, as of a network whose activations are neither ReLU nor ReLU6.
    """
    if not found.quantized:
        fix = "use ReLU or ReLU6, which vanish into the quantizer behind a convolution, and keep fewer edges float"
        raise CheckFailedError("no convolution of the graph can run as an integer kernel", where=where, fix=fix)
    if found.integer < found.quantized:
        raise CheckFailedError(
            f"ONNX Runtime runs only {found.integer} of {found.quantized} quantized convolutions and "
            "matrix products as integer kernels",
            where=where,
            fix="nothing was written; keep fewer edges float, or report it with the version of onnxruntime",
        )


def _quantized(model: ModelProto) -> int:
    integers = {tensor.name for tensor in model.graph.initializer if tensor.data_type == TensorProto.INT8}
    made_by = {name: node for node in model.graph.node for name in node.output}

    def dequantizer(name: str) -> NodeProto | None:
        while (node := made_by.get(name)) is not None and node.op_type in ("Reshape", "Transpose"):
            name = node.input[0]
        return node if node is not None and node.op_type == "DequantizeLinear" else None

    products = [node for node in model.graph.node if node.op_type in PRODUCTS]
    weights = [dequantizer(node.input[1]) for node in products if dequantizer(node.input[0]) is not None]
    return sum(weight is not None and weight.input[0] in integers for weight in weights)
