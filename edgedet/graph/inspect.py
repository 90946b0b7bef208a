"""What an ONNX file is made of."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onnx import GraphProto, TensorProto, ValueInfoProto

from edgedet.errors import EdgedetError
from edgedet.graph.integer_kernels import PRODUCTS
from edgedet.graph.lint.quantized_graph import MOVES
from edgedet.graph.metadata import SPEC_KEY, read_metadata, read_provenance, read_spec
from edgedet.graph.reading import read_onnx
from edgedet.spec import Spec

ONNX_DOMAIN = "ai.onnx"
"""Of ONNX's own operators, and the beginning of its other domains' names; files mostly leave it empty."""

UNKNOWN = "unknown"


@dataclass(frozen=True)
class GraphTensor:
    """An input or output of a graph.

    Attributes:
        dimensions: a name, or None, where the size is free.
        type: ONNX's name of it, as FLOAT; `unknown` where the file does not say.
    """

    name: str
    dimensions: tuple[int | str | None, ...]
    type: str


@dataclass(frozen=True)
class Operator:
    """The nodes of one operator.

    Attributes:
        name: with its domain in front where that is not ONNX's: `domain::Name`.
        nodes: how many there are.
        quantized: how many compute of integers: all that they read of the network's values was dequantized, and so
            were the weights of convolutions and matrix products. Quantizers themselves are not counted.
        types: what their results are held in.
        is_custom: whether it is none of ONNX's own.
        has_body: whether the file defines it, by a function of other operators.
    """

    name: str
    nodes: int
    quantized: int
    types: tuple[str, ...]
    is_custom: bool
    has_body: bool


@dataclass(frozen=True)
class Contents:
    """What an ONNX file is made of. Nodes inside functions and of branches and loops are not listed.

    Attributes:
        producer: what wrote the file, and its version; empty where it does not say.
        ir_version: of the file's format.
        opsets: versions of the operator sets by domain; ONNX's own is `ai.onnx`.
        inputs, outputs: of the graph.
        operators: the most frequent first.
        parameters: how many numbers the weights and other stored constants are.
        size_bytes: of the file.
        target: what the file was lowered for, where edgedet exported it.
        spec: edgedet's specification; None where there is none.
        spec_fault: what is wrong with what the file says of itself to edgedet; None where nothing is.
    """

    producer: str
    ir_version: int
    opsets: dict[str, int]
    inputs: tuple[GraphTensor, ...]
    outputs: tuple[GraphTensor, ...]
    operators: tuple[Operator, ...]
    parameters: int
    size_bytes: int
    target: str | None
    spec: Spec | None
    spec_fault: str | None

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        spec = None if self.spec is None else self.spec.model_dump(mode="json")
        return {**asdict(self), "spec": spec}


def inspect_onnx_file(path: Path) -> Contents:
    """Lists what is in a file of anyone's making.

    Raises:
        EdgedetError: as `read_onnx`.
    """
    model = read_onnx(path)
    graph = model.graph
    stored = {tensor.name for tensor in graph.initializer}
    spec, target, fault = _self_description(read_metadata(model))
    return Contents(
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        ir_version=model.ir_version,
        opsets={entry.domain or ONNX_DOMAIN: entry.version for entry in model.opset_import},
        inputs=tuple(_tensor(value) for value in graph.input if value.name not in stored),
        outputs=tuple(map(_tensor, graph.output)),
        operators=_operators(graph, {(function.domain, function.name) for function in model.functions}),
        parameters=sum(math.prod(tensor.dims) for tensor in graph.initializer),
        size_bytes=path.stat().st_size,
        target=target,
        spec=spec,
        spec_fault=fault,
    )


def _operators(graph: GraphProto, bodies: set[tuple[str, str]]) -> tuple[Operator, ...]:
    computing_of_integers = _quantized(graph)
    types = {value.name: _type_name(value) for value in [*graph.value_info, *graph.output]}
    places: dict[tuple[str, str], list[int]] = {}
    for place, node in enumerate(graph.node):
        places.setdefault((node.domain, node.op_type), []).append(place)
    operators = [
        Operator(
            name=op_type if domain in ("", ONNX_DOMAIN) else f"{domain}::{op_type}",
            nodes=len(nodes),
            quantized=len(computing_of_integers.intersection(nodes)),
            types=tuple(
                sorted({types.get(name, UNKNOWN) for place in nodes for name in graph.node[place].output if name})
            ),
            is_custom=domain != "" and not domain.startswith(ONNX_DOMAIN),
            has_body=(domain, op_type) in bodies,
        )
        for (domain, op_type), nodes in places.items()
    ]
    return tuple(sorted(operators, key=lambda operator: (-operator.nodes, operator.name)))


def _quantized(graph: GraphProto) -> set[int]:
    """The places of the nodes that compute of integers alone, picked ones too."""
    constant = {tensor.name for tensor in graph.initializer} | {""}
    dequantized = set[str]()
    found = set[int]()
    for place, node in enumerate(graph.node):
        data = [name for name in node.input if name not in constant]
        if not data:
            constant.update(node.output)
        read = node.input[:2] if node.op_type in PRODUCTS else data
        if node.op_type == "DequantizeLinear":
            dequantized.update(node.output)
        elif node.op_type != "QuantizeLinear" and data and dequantized.issuperset(read):
            found.add(place)
            dequantized.update(node.output if node.op_type in MOVES else ())
    return found


def _self_description(metadata: dict[str, str]) -> tuple[Spec | None, str | None, str | None]:
    """The specification, the target, and what is wrong with them."""
    try:
        provenance = read_provenance(metadata)
        target = None if provenance is None else provenance.target
        return (read_spec(metadata) if SPEC_KEY in metadata else None), target, None
    except EdgedetError as error:
        return None, None, error.what


def _tensor(value: ValueInfoProto) -> GraphTensor:
    sides = value.type.tensor_type.shape.dim
    dimensions = tuple(side.dim_value if side.HasField("dim_value") else side.dim_param or None for side in sides)
    return GraphTensor(value.name, dimensions, _type_name(value))


def _type_name(value: ValueInfoProto) -> str:
    """Of a tensor its elements' type; of what else there is, as `sequence`."""
    if not value.type.HasField("tensor_type"):
        return (value.type.WhichOneof("value") or UNKNOWN).removesuffix("_type")
    return str(TensorProto.DataType.Name(value.type.tensor_type.elem_type))
