"""The smallest graph that keeps a CPU's arithmetic busy: one product of two square matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

LEFT = "left"
OPSET, IR_VERSION = 17, 8
"""What every ONNX Runtime from 1.17 on reads."""


def matrix_product(side: int, *, integers: bool) -> bytes:
    """An ONNX file that multiplies `left [side, side]` with a stored matrix of that size.

    Args:
        side: rows and columns; the product takes `side ** 3` multiply-accumulates.
        integers: uint8 by int8 into int32 (`MatMulInteger`), as integer convolutions compute; else float32.
    """
    random = np.random.default_rng(0)
    if integers:
        # Codes to 64: two products of them fit into the 16 bits that CPUs without VNNI add pairs in.
        right: NDArray[Any] = random.integers(-64, 65, (side, side)).astype(np.int8)
        operator, given, result = "MatMulInteger", TensorProto.UINT8, TensorProto.INT32
    else:
        right = random.random((side, side), np.float32)
        operator, given, result = "MatMul", TensorProto.FLOAT, TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node(operator, [LEFT, "right"], ["product"], name="product")],
        "matrix_product",
        [helper.make_tensor_value_info(LEFT, given, [side, side])],
        [helper.make_tensor_value_info("product", result, [side, side])],
        [numpy_helper.from_array(right, "right")],
    )
    opset = helper.make_opsetid("", OPSET)
    return bytes(helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION).SerializeToString())
