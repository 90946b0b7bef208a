"""What TensorRT is given to parse: the file lowered for one version of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir
from onnx import ModelProto, numpy_helper

from edgedet.errors import EdgedetError, unknown_value
from edgedet.graph.lowerings.float16 import to_float16
from edgedet.graph.lowerings.float32_nodes import MOVES, decoding_nodes, names_of_unsafe
from edgedet.graph.lowerings.gated_plugin import has_gates, is_gated, with_functions, with_plugins
from edgedet.graph.lowerings.mixed import keep_blocks_float, quantized_blocks
from edgedet.graph.metadata import Provenance, read_metadata, read_provenance, read_spec
from edgedet.graph.nms import BOXES_AND_SCORES, with_nms, without_nms
from edgedet.graph.opset import to_opset_13
from edgedet.graph.reading import read_onnx
from edgedet.graph.scan import largest_values
from edgedet.graph.targets import MASTER, TARGETS, place
from edgedet.graph.verify import Images
from edgedet.ops.diou_nms import DIoUNMS
from edgedet.ops.diou_nms.definition import OP_TYPE
from edgedet.runtime.backend import NMS_OUTPUTS
from edgedet.spec import Spec
from edgedet.trt import versions
from edgedet.trt.manifest import BuildOptions, Profile
from edgedet.trt.versions import FP16, INT8, Version

INPUT = "images"

UNKNOWN_TO_TENSORRT = frozenset(
    {
        "BitShift",
        "BitwiseAnd",
        "BitwiseOr",
        "BitwiseXor",
        "ConvInteger",
        "DynamicQuantizeLinear",
        "MatMulInteger",
        "QLinearConv",
        "QLinearMatMul",
        "StringNormalizer",
    }
)
"""Of ONNX's operators those that detectors may hold and TensorRT's parser has no importer for (its list of operators,
10.1)."""

QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class Network:
    """A graph for one version of TensorRT.

    Attributes:
        model: the graph.
        reference: the same graph for ONNX Runtime: with the function of an operator that TensorRT has a plugin for.
        spec: of the detector.
        lowering: the target that it was lowered for.
        precision: the lowest that may be computed in.
        strongly_typed: whether the graph's types decide.
        float32_nodes: names of the nodes that must not be computed in less, where the types do not say so.
        provenance: what the file was made of.
    """

    model: ModelProto
    reference: ModelProto
    spec: Spec
    lowering: str
    precision: str
    strongly_typed: bool
    float32_nodes: tuple[str, ...]
    provenance: Provenance

    @property
    def has_nms(self) -> bool:
        """Whether it suppresses boxes itself."""
        return any(node.op_type == OP_TYPE for node in self.model.graph.node)

    @property
    def needs_operators(self) -> bool:
        """Whether it needs edgedet's plugins."""
        return self.has_nms or has_gates(self.model)

    @property
    def batch(self) -> int | None:
        """Images at once; None where that is free."""
        size = self.model.graph.input[0].type.tensor_type.shape.dim[0]
        return size.dim_value if size.HasField("dim_value") else None

    def input_shapes(self, batches: Profile) -> tuple[tuple[int, int, int, int], ...]:
        """Of the smallest batch, of the one that kernels are chosen for, and of the largest."""
        size = self.spec.preprocess
        sizes = (batches.smallest, batches.best, batches.largest)
        return tuple((batch, 3, size.height, size.width) for batch in sizes)


def read_network(path: Path, version: Version, options: BuildOptions, images: Images) -> Network:
    """The network in an ONNX file of edgedet's, lowered for a version of TensorRT.

    A master is lowered here; a file that was exported for TensorRT is taken as it is, if it is for this version.

    Args:
        path: the file.
        version: of TensorRT.
        options: of them `precision`, `strongly_typed` and `keep_float` decide.
        images: what the ranges of float16 are measured on.

    Raises:
        EdgedetError: the file is not one of edgedet's, or not for this version, precision or TensorRT at all.
    """
    model = read_onnx(path)
    metadata = read_metadata(model)
    spec = read_spec(metadata, where=path)
    provenance = read_provenance(metadata, where=path) or Provenance(target=MASTER)
    _require_detector(model, where=path)
    require_parsable(model, where=path)
    quantized = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    strong = versions.is_strongly_typed(version, asked=options.strongly_typed)
    chosen = options.precision or (INT8 if quantized else FP16)
    if chosen == INT8 and not quantized:
        fix = "export a quantized checkpoint (edgedet quantize), or leave --precision out"
        raise EdgedetError("the model has no quantizers: there is no INT8 engine of it", where=path, fix=fix)
    target = versions.lowering(version, chosen, strongly_typed=strong)
    plain = with_functions(without_nms(model))
    held = versions.holds_precisions(chosen, strongly_typed=strong)
    unsafe: Sequence[str] = ()
    if provenance.target == MASTER:
        plain = _with_float_blocks(place(plain, target), options.keep_float, where=path)
    else:
        _require_target(provenance.target, target, version, where=path)
        if options.keep_float:
            raise EdgedetError("already lowered: its blocks are as they are", where=path, fix=EXPORT_MASTER)
    retyped = provenance.target == MASTER and TARGETS[target].float16
    if held or retyped:
        ranges = largest_values(plain, spec, images)
        unsafe = names_of_unsafe(plain, ranges)
        plain = to_float16(plain, ranges) if retyped else plain
    reference = plain
    if any(node.op_type == OP_TYPE for node in model.graph.node):
        reference = with_nms(plain, DIoUNMS(**spec.postprocess.model_dump()))
    lowered = _without_functions(with_plugins(reference) if has_gates(reference) else reference)
    if not versions.reads_opset_17(version):
        lowered = to_opset_13(lowered)
    suppressing = tuple(node.name for node in lowered.graph.node if node.op_type == OP_TYPE)
    float32 = (*unsafe, *_decoding(plain), *suppressing) if held else ()
    return Network(lowered, reference, spec, target, chosen, strong, float32, provenance)


def require_parsable(model: ModelProto, *, where: Path) -> None:
    """Refuses a graph with operators or quantizers that TensorRT's parser does not know.

    Raises:
        EdgedetError: it names them, and the lowering that has none.
    """
    unknown = {
        f"{node.domain}:{node.op_type}" if node.domain else node.op_type: node.name
        for node in model.graph.node
        if node.op_type in UNKNOWN_TO_TENSORRT or (node.domain and node.op_type != OP_TYPE and not is_gated(node))
    }
    if unknown:
        listed = ", ".join(f"{kind} ({name or 'unnamed'})" for kind, name in list(unknown.items())[:8])
        raise EdgedetError(f"operators that TensorRT does not know: {listed}", where=where, fix=EXPORT_MASTER)
    zero = {tensor.name for tensor in model.graph.initializer if not numpy_helper.to_array(tensor).any()}
    for node in model.graph.node:
        if node.op_type in QUANTIZERS and len(node.input) > 2 and node.input[2] not in zero:
            raise EdgedetError(
                f"quantizers with a zero point other than 0 ({node.name}), as for ONNX Runtime on CPUs: GPUs have none",
                where=where,
                fix=EXPORT_MASTER,
            )


EXPORT_MASTER = "give the master (edgedet export model.pt), which is lowered for the TensorRT found"


def _require_detector(model: ModelProto, *, where: Path) -> None:
    """Refuses a graph that does not have the inputs and outputs that its specification speaks of."""
    inputs, outputs = ([value.name for value in values] for values in (model.graph.input, model.graph.output))
    if inputs != [INPUT] or outputs not in (BOXES_AND_SCORES, list(NMS_OUTPUTS)):
        what = f"its inputs and outputs are {', '.join((*inputs, *outputs))}, not those of a detector"
        raise EdgedetError(what, where=where, fix=EXPORT_MASTER)


def _with_float_blocks(model: ModelProto, blocks: Sequence[str], *, where: Path) -> ModelProto:
    known = quantized_blocks(model)
    for block in blocks:
        if block not in known:
            raise unknown_value("quantized block", block, known, where=where)
    return keep_blocks_float(model, blocks) if blocks else model


def _require_target(found: str, wanted: str, version: Version, *, where: Path) -> None:
    """Weakly typed, `trt8` and `trt10` are one, and so is a file without quantizers whatever it was lowered for."""
    alike = {"trt8": "trt10"}
    if found not in TARGETS or alike.get(found, found) != alike.get(wanted, wanted):
        raise EdgedetError(
            f"exported for {found}, and TensorRT {version} needs {wanted} for this", where=where, fix=EXPORT_MASTER
        )


def _decoding(model: ModelProto) -> tuple[str, ...]:
    """The names of the nodes that compute boxes and scores; not of those that only move values."""
    graph = ir.from_proto(model).graph
    decoding = decoding_nodes(graph)
    return tuple(node.name or "" for node in graph if node in decoding and node.op_type not in MOVES)


def _without_functions(model: ModelProto) -> ModelProto:
    """TensorRT does not parse all that the functions are made of, and before 10.7 takes them before a plugin."""
    result = ModelProto()
    result.CopyFrom(model)
    del result.functions[:]
    return result
