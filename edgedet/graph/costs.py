"""What the nodes of an ONNX file cost: multiply-accumulates, and bytes read and written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from edgedet.errors import EdgedetError
from edgedet.graph.reading import read_onnx

WEIGHT_INPUT: Mapping[str, int] = {
    "Conv": 1,
    "ConvInteger": 1,
    "ConvTranspose": 1,
    "Gemm": 1,
    "MatMul": 1,
    "MatMulInteger": 1,
    "QLinearConv": 3,
    "QLinearMatMul": 3,
}
"""The place of the second factor among the inputs of each operator that multiplies and adds (ONNX, Operators.md)."""

CONVOLUTIONS = frozenset({"Conv", "ConvInteger", "QLinearConv"})
QUANTIZERS = frozenset({"QuantizeLinear", "DequantizeLinear"})

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class NodeCost:
    """What one node costs in one run. What depends on the network's input is read and written; the rest is weights.

    Attributes:
        name: the node's; what it gives where it has none.
        kind: the operator.
        macs: multiply-accumulates, a multiply-add is one; 0 of nodes that are no convolution or product of matrices.
        read_bytes, written_bytes: in the types that the graph has there; None where a size is only known when running.
        weight_bytes: of the constants that it reads, as they are stored: of weights behind a dequantizer the integers,
            with scales and zero points.
        weights: numbers in the second factor of a product where that is constant, else 0.
        output_shape: of its first output; None where it is only known when running.
        inputs: tensors that depend on the network's input.
        outputs: tensors.
    """

    name: str
    kind: str
    macs: int
    read_bytes: int | None
    weight_bytes: int
    written_bytes: int | None
    weights: int
    output_shape: tuple[int, ...] | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class _Tensor:
    """A tensor's sizes, and the bytes of one element; None where the graph does not say."""

    shape: Shape | None
    item_bytes: int | None

    @property
    def fixed(self) -> tuple[int, ...] | None:
        """The sizes, where all are known."""
        if self.shape is None or any(size is None for size in self.shape):
            return None
        return tuple(size for size in self.shape if size is not None)

    @property
    def bytes(self) -> int | None:
        """The size in memory, where it is known."""
        fixed = self.fixed
        return None if fixed is None or self.item_bytes is None else math.prod(fixed) * self.item_bytes


def file_costs(path: Path, *, batch: int = 1) -> tuple[NodeCost, ...]:
    """`node_costs` of an ONNX file.

    Raises:
        EdgedetError: the file is no ONNX, or as `node_costs`.
    """
    return node_costs(read_onnx(path), batch=batch, where=path)


def node_costs(model: ModelProto, *, batch: int = 1, where: object = None) -> tuple[NodeCost, ...]:
    """The costs of a graph's nodes, in the order of computation.

    Nodes that depend on constants alone are left out: a runtime computes them once, when it loads the file. Nodes
    inside functions and of branches and loops are not looked into: they count as the node that calls them, without
    multiply-accumulates. Padding is multiplied as well, as `edgedet.models.count.count_macs` counts, and so are zeros
    that a lowering put into weights: the first convolution of an `ort-cpu` file has more than its checkpoint's.

    Args:
        model: the graph as it was exported.
        batch: images at once, where the batch is free.
        where: named in errors.

    Raises:
        EdgedetError: the sizes of a convolution or product are not known, or disagree.
    """
    tensors = _tensors(_with_batch(model, batch), where)
    stored = {tensor.name: tensors[tensor.name].bytes or 0 for tensor in model.graph.initializer}
    costs = []
    for node in model.graph.node:
        given = [name for name in node.input if name]
        if node.op_type == "Constant" or (given and all(name in stored for name in given)):
            stored.update(_stored_results(node, given, stored, tensors))
        else:
            costs.append(_cost(node, given, stored, tensors, where))
    return tuple(costs)


def _stored_results(
    node: NodeProto, given: Sequence[str], stored: Mapping[str, int], tensors: Mapping[str, _Tensor]
) -> dict[str, int]:
    """The stored bytes that constant results are made of: quantizers' what they read, others' what they give."""
    if node.op_type in QUANTIZERS:
        return dict.fromkeys(node.output, sum(stored[name] for name in given))
    return {name: _known(tensors, name).bytes or 0 for name in node.output if name}


def _cost(
    node: NodeProto,
    given: Sequence[str],
    stored: Mapping[str, int],
    tensors: Mapping[str, _Tensor],
    where: object,
) -> NodeCost:
    outputs = tuple(name for name in node.output if name)
    inputs = tuple(name for name in given if name not in stored)
    name = node.name or f"{node.op_type} of {outputs[0] if outputs else 'nothing'}"
    is_product = node.op_type in WEIGHT_INPUT and node.domain in ("", "ai.onnx")
    return NodeCost(
        name=name,
        kind=node.op_type,
        macs=_macs(node, tensors, name, where) if is_product else 0,
        read_bytes=_sum([_known(tensors, tensor).bytes for tensor in inputs]),
        weight_bytes=sum(stored[tensor] for tensor in given if tensor in stored),
        written_bytes=_sum([_known(tensors, tensor).bytes for tensor in outputs]),
        weights=_weights(node, stored, tensors) if is_product else 0,
        output_shape=_known(tensors, outputs[0]).fixed if outputs else None,
        inputs=inputs,
        outputs=outputs,
    )


def _macs(node: NodeProto, tensors: Mapping[str, _Tensor], name: str, where: object) -> int:
    first, second = _operand(node, 0, tensors), _operand(node, WEIGHT_INPUT[node.op_type], tensors)
    result = _known(tensors, node.output[0]).fixed
    if not first or not second or result is None:
        fix = "fix the sizes of the inputs; the batch alone may be free"
        raise EdgedetError(f"the sizes at {name!r} are only known when running", where=where, fix=fix)
    if node.op_type in CONVOLUTIONS:
        # weight [out, in / groups, ...]: every output element is a sum over all axes but the first.
        return math.prod(result) * math.prod(second[1:])
    if node.op_type == "ConvTranspose":
        # weight [in, out / groups, ...]: every input element is multiplied with all axes but the first.
        return math.prod(first) * math.prod(second[1:])
    summed_axis = 0 if node.op_type == "Gemm" and _attribute(node, "transA") else -1
    return math.prod(result) * first[summed_axis]


def _weights(node: NodeProto, stored: Mapping[str, int], tensors: Mapping[str, _Tensor]) -> int:
    place = WEIGHT_INPUT[node.op_type]
    constant = len(node.input) > place and node.input[place] in stored
    return math.prod(_operand(node, place, tensors) or (0,)) if constant else 0


def _operand(node: NodeProto, place: int, tensors: Mapping[str, _Tensor]) -> tuple[int, ...] | None:
    return _known(tensors, node.input[place]).fixed if len(node.input) > place else None


def _known(tensors: Mapping[str, _Tensor], name: str) -> _Tensor:
    return tensors.get(name, _Tensor(None, None))


def _attribute(node: NodeProto, name: str) -> int:
    return next((entry.i for entry in node.attribute if entry.name == name and entry.type == AttributeProto.INT), 0)


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _with_batch(model: ModelProto, batch: int) -> ModelProto:
    """A copy whose inputs have `batch` in place of a free first size, and so has what is named like it."""
    result = ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    constant = {tensor.name for tensor in graph.initializer}
    names = set[str]()
    for value in graph.input:
        sides = value.type.tensor_type.shape.dim
        if value.name not in constant and sides and sides[0].dim_value <= 0:
            names.add(sides[0].dim_param)
            sides[0].dim_value = batch
    for value in [*graph.input, *graph.output, *graph.value_info]:
        for side in value.type.tensor_type.shape.dim:
            if side.dim_param and side.dim_param in names:
                side.dim_value = batch
    return result


def _tensors(model: ModelProto, where: object) -> dict[str, _Tensor]:
    """Every tensor of the graph whose type is known, by name."""
    try:
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except onnx.shape_inference.InferenceError as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise EdgedetError(f"its sizes disagree ({reason})", where=where, fix="export it again") from error
    found = {value.name: _tensor(value) for value in [*graph.input, *graph.output, *graph.value_info]}
    found |= {tensor.name: _Tensor(tuple(tensor.dims), _item_bytes(tensor.data_type)) for tensor in graph.initializer}
    return found


def _tensor(value: ValueInfoProto) -> _Tensor:
    described = value.type.tensor_type
    shape: Shape | None = None
    if described.HasField("shape"):
        sides = described.shape.dim
        shape = tuple(side.dim_value if side.HasField("dim_value") and side.dim_value >= 0 else None for side in sides)
    return _Tensor(shape, _item_bytes(described.elem_type))


def _item_bytes(element: int) -> int | None:
    if element in (TensorProto.UNDEFINED, TensorProto.STRING):
        return None
    return int(helper.tensor_dtype_to_np_dtype(element).itemsize)
