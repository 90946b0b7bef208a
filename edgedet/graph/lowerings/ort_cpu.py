"""For ONNX Runtime on CPUs: unsigned activations, integer weights and biases, nothing between integer kernels.

ONNX Runtime's fast integer kernels take unsigned activations and signed weights; signed activations fall back to slow
ones. A tensor that is never negative takes zero point 0 over the same clipping range, which refines its grid from 127
steps to 255, and an activation whose bounds the grid's ends imply vanishes into the quantizer. Any other tensor takes
zero point 128 on the same grid. What the integer kernels are slow at is rearranged, without another result, and gated
convolutions between integers have their quantizers in them.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx import ModelProto

from edgedet.errors import CheckFailedError
from edgedet.graph.lowerings.cut_codes import cut_codes, ends_before_grid, is_cut
from edgedet.graph.lowerings.editing import (
    Array,
    array_of,
    drop,
    drop_unused_initializers,
    initializer,
    input_of,
    is_of_weight,
    producer_of,
    quantizers,
)
from edgedet.graph.lowerings.gated_bytes import gate_bytes
from edgedet.graph.lowerings.mish import use_mish_operator
from edgedet.graph.lowerings.rearranging import pack_first_convolution, pack_narrow_convolutions, tile_upsampled_maps
from edgedet.graph.lowerings.row_products import find_rows, multiply_rows
from edgedet.graph.lowerings.shared_grids import round_sources, share_quantizers
from edgedet.models.quantized.codes import HIGHEST, HIGHEST_UNSIGNED, LOWEST

SIGNED_ZERO_POINT = -LOWEST
KEEP_SIGN = frozenset({"MaxPool", "Resize", "Split", "Concat", "Add", "QuantizeLinear", "DequantizeLinear"})
"""Operators that give nothing negative where nothing negative goes in."""


def lower_for_ort_cpu(master: ModelProto) -> ModelProto:
    """The graph for ONNX Runtime's CPU provider; the master is left as it is.

    Args:
        master: with int8 quantizers of zero point 0 on activations and weights, or float (then nothing changes).
    """
    model = ir.from_proto(master)
    graph = model.graph
    round_sources(graph)
    share_quantizers(graph)
    logits = find_rows(graph)
    products = {conv for rows in logits for conv in rows.convs}
    for conv in [node for node in graph if node.op_type == "Conv" and node not in products]:
        weight = input_of(conv, 1).producer()
        if weight is not None and not _is_rounded(conv.outputs[0]):
            drop(graph, producer_of(input_of(weight, 0)))
    for quantizer in quantizers(graph):
        if is_of_weight(quantizer):
            _store_as_integers(graph, quantizer)
    activations = quantizers(graph)
    unsigned = {quantizer for quantizer in activations if _may_be_finer(quantizer)}
    for quantizer in activations:
        if quantizer in unsigned:
            _drop_implied_activation(graph, quantizer)
        _make_unsigned(graph, quantizer, non_negative=quantizer in unsigned)
    cut_codes(graph)
    for node in [node for node in graph if node.op_type == "Conv" and len(node.inputs) == 3]:
        _quantize_bias(graph, node)
    for rows in logits:
        multiply_rows(graph, rows)
    pack_first_convolution(graph)
    pack_narrow_convolutions(graph)
    tile_upsampled_maps(graph)
    use_mish_operator(model)
    gate_bytes(model)
    drop_unused_initializers(graph)
    return ir.to_proto(model)


def _is_rounded(value: ir.Value) -> bool:
    """Whether a convolution's result goes to a quantizer alone, if need be through ReLU or ReLU6.

    Otherwise no integer kernel gives it, and weights that a float one reads are better left as they were.
    """
    readers = [use.node for use in value.uses()]
    if len(readers) != 1:
        return False
    if readers[0].op_type in ("Relu", "Clip"):
        return _is_rounded(readers[0].outputs[0])
    return readers[0].op_type == "QuantizeLinear"


def _store_as_integers(graph: ir.Graph, quantizer: ir.Node) -> None:
    """Replaces a weight and its quantizer by the integers that it gives."""
    weight, scale = input_of(quantizer, 0), input_of(quantizer, 1)
    steps = array_of(scale).reshape(-1, *[1] * (array_of(weight).ndim - 1))
    codes = np.clip(np.rint(array_of(weight) / steps), LOWEST, HIGHEST).astype(np.int8)
    stored = initializer(graph, f"{quantizer.name}/integers", codes)
    ir.convenience.replace_all_uses_with(quantizer.outputs[0], stored)
    graph.remove(quantizer, safe=True)


def _may_be_finer(quantizer: ir.Node) -> bool:
    """Whether nothing negative is rounded, nor anything that was cut off for fewer codes."""
    value = input_of(quantizer, 0)
    return _is_non_negative(value) and not is_cut(value.producer())


def _is_non_negative(value: ir.Value) -> bool:
    node = value.producer()
    if node is None:
        return False
    if node.op_type == "Relu":
        return True
    if node.op_type == "Clip":
        return float(array_of(input_of(node, 1))) >= 0
    if node.op_type not in KEEP_SIGN:
        return False
    read = len(node.inputs) if node.op_type in ("Concat", "Add") else 1
    return all(_is_non_negative(input_of(node, position)) for position in range(read))


def _drop_implied_activation(graph: ir.Graph, quantizer: ir.Node) -> None:
    """Removes the ReLU or ReLU6 before a quantizer that clips at the same bounds, if nobody else reads it."""
    node = input_of(quantizer, 0).producer()
    if node is None or node.op_type not in ("Relu", "Clip") or len(node.outputs[0].uses()) > 1:
        return
    if node.op_type == "Clip":
        lowest, highest, step = (float(array_of(input_of(*at))) for at in ((node, 1), (node, 2), (quantizer, 1)))
        if lowest != 0 or ends_before_grid(highest, step):
            return
    quantizer.replace_input_with(0, node.inputs[0])
    graph.remove(node, safe=True)


def _make_unsigned(graph: ir.Graph, quantizer: ir.Node, *, non_negative: bool) -> None:
    scale = array_of(input_of(quantizer, 1))
    zero_point = 0 if non_negative else SIGNED_ZERO_POINT
    if non_negative:
        scale = (scale.astype(np.float64) * HIGHEST / HIGHEST_UNSIGNED).astype(np.float32)
    grid = [
        initializer(graph, f"{quantizer.name}/unsigned_scale", scale),
        initializer(graph, f"{quantizer.name}/unsigned_zero_point", np.array(zero_point, np.uint8)),
    ]
    quantizer.outputs[0].type = ir.TensorType(ir.DataType.UINT8)
    for node in (quantizer, *(use.node for use in quantizer.outputs[0].uses())):
        for position, value in enumerate(grid, start=1):
            node.replace_input_with(position, value)


def _quantize_bias(graph: ir.Graph, conv: ir.Node) -> None:
    """The bias on the grid of the integer sum that it is added to: input step times weight step, 32 bits wide."""
    bias, input_step, weight_step = input_of(conv, 2), _step_of(input_of(conv, 0)), _step_of(input_of(conv, 1))
    if input_step is None or weight_step is None or not bias.is_initializer():
        return
    step = (input_step.astype(np.float64) * weight_step).astype(np.float32)
    codes = np.rint(array_of(bias) / step.astype(np.float64))
    if np.abs(codes).max(initial=0) >= 2**31:
        fix = "nothing was written; report it with the checkpoint"
        raise CheckFailedError("a bias does not fit into 32 bits on the grid of its sum", where=conv.name, fix=fix)
    # Named by the convolution: equal biases of two are one constant of the master.
    inputs = [
        initializer(graph, f"{conv.name}/bias/integers", codes.astype(np.int32)),
        initializer(graph, f"{conv.name}/bias/scale", step),
        initializer(graph, f"{conv.name}/bias/zero_point", np.zeros(len(codes), np.int32)),
    ]
    dequantizer = ir.node("DequantizeLinear", inputs, attributes={"axis": 0}, name=f"{conv.name}/bias/DequantizeLinear")
    output = dequantizer.outputs[0]
    output.name, output.type = f"{dequantizer.name}_output", ir.TensorType(ir.DataType.FLOAT)
    output.shape = ir.Shape([len(codes)])
    graph.insert_before(conv, dequantizer)
    conv.replace_input_with(2, output)


def _step_of(value: ir.Value) -> Array | None:
    """The scale of the grid that the value lies on."""
    node = value.producer()
    return array_of(input_of(node, 1)) if node is not None and node.op_type == "DequantizeLinear" else None
