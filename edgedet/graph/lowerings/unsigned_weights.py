"""For x86 CPUs without VNNI: weights unsigned too.

Their products of unsigned activations and signed weights are added in pairs, in 16 bits, and what does not fit is cut
off. ONNX Runtime multiplies unsigned by unsigned in 32 bits: exact anywhere, at a price where VNNI is there.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx import ModelProto

from edgedet.graph.lowerings.editing import Array, array_of, drop_unused_initializers, initializer, input_of
from edgedet.graph.lowerings.ort_cpu import lower_for_ort_cpu

SHIFT = 128


def lower_for_avx2(master: ModelProto) -> ModelProto:
    """What `lower_for_ort_cpu` gives, with weights of the same values as uint8 of zero point 128."""
    model = ir.from_proto(lower_for_ort_cpu(master))
    graph = model.graph
    for node in [node for node in graph if node.op_type == "DequantizeLinear"]:
        codes = input_of(node, 0)
        if codes.is_initializer() and codes.dtype == ir.DataType.INT8:
            for position, name in ((0, "integers"), (2, "zero_point")):
                shifted = _shifted(array_of(input_of(node, position)))
                node.replace_input_with(position, initializer(graph, f"{node.name}/unsigned_{name}", shifted))
    drop_unused_initializers(graph)
    return ir.to_proto(model)


def _shifted(codes: Array) -> Array:
    return (codes.astype(np.int16) + SHIFT).astype(np.uint8)
