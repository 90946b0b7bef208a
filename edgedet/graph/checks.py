"""What must hold of an exported graph before it is called one. Each check gives the faults that it found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto

from edgedet.errors import CheckFailedError, EdgedetError
from edgedet.graph.metadata import read_metadata, read_spec
from edgedet.graph.opset import IR_VERSION, OPSET
from edgedet.spec import Spec

TRAINING_ONLY = frozenset(
    {"BatchNormalization", "Dropout", "Bernoulli", "Multinomial", "Gradient", "SoftmaxCrossEntropyLoss"}
    | {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "NegativeLogLikelihoodLoss"}
)
"""A BatchNormalization is one where it stands behind a convolution: for inference it belongs into the weights."""

UNFOLDED = frozenset(
    {"Shape", "Size", "Gather", "GatherND", "GatherElements", "Range", "ConstantOfShape", "Constant", "Identity"}
    | {"Expand", "Cast", "CastLike", "NonZero", "Where", "If", "Loop", "Scan", "SequenceAt", "SplitToSequence"}
)
"""Operators that compute shapes or choose at run time: in a graph of known sizes nothing is left for them to do."""

SizeOf = tuple[int | str, ...]


def require_sound(model: ModelProto, spec: Spec, *, batch: int | None) -> tuple[str, ...]:
    """Runs every check and returns what was asserted, in words.

    Args:
        model: an exported model.
        spec: what it must carry and promise.
        batch: its fixed batch size; None where the batch is free.

    Raises:
        CheckFailedError: something does not hold; the message names every fault.
    """
    faults = [fault for check in CHECKS.values() for fault in check(model, spec, batch)]
    if faults:
        listed = "; ".join(faults[:10]) + (f"; and {len(faults) - 10} more" if len(faults) > 10 else "")
        raise CheckFailedError(f"the exported graph is not sound: {listed}", where=spec.model)
    return tuple(CHECKS)


def is_valid(model: ModelProto, spec: Spec, batch: int | None) -> Iterator[str]:
    """ONNX's own checker, with strict shape inference."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        yield f"not valid ONNX ({str(error).splitlines()[0]})"


def is_readable_by_old_runtimes(model: ModelProto, spec: Spec, batch: int | None) -> Iterator[str]:
    """One operator set, of the version that is promised, and no functions."""
    versions = {(entry.domain, entry.version) for entry in model.opset_import}
    if versions != {("", OPSET)}:
        yield f"operator sets {sorted(versions)}, not ONNX {OPSET} alone"
    if model.ir_version > IR_VERSION:
        yield f"IR version {model.ir_version}, above {IR_VERSION}"
    if model.functions:
        yield f"{len(model.functions)} local functions"
    for node in model.graph.node:
        if node.domain:
            yield f"{node.name} is the operator {node.domain}::{node.op_type}"


def has_no_training_only_nodes(model: ModelProto, spec: Spec, batch: int | None) -> Iterator[str]:
    """Nothing that only training needs, and nothing random."""
    return (f"{node.op_type} ({node.name})" for node in model.graph.node if node.op_type in TRAINING_ONLY)


def is_folded(model: ModelProto, spec: Spec, batch: int | None) -> Iterator[str]:
    """Nothing is computed that was known when exporting."""
    return (f"{node.op_type} ({node.name}) is not folded" for node in model.graph.node if node.op_type in UNFOLDED)


def has_the_promised_interface(model: ModelProto, spec: Spec, batch: int | None) -> Iterator[str]:
    """`images` in, `boxes` and `scores` out, float32, of the sizes of the specification.

    Every cell has the same number of boxes; the specification does not say how many, for that is the head's matter.
    """
    graph, size, classes = model.graph, spec.preprocess, len(spec.class_names)
    free: int | str = "batch" if batch is None else batch
    found = {value.name: _sizes(value) for value in [*graph.input, *graph.output]}
    cells = sum(-(-size.height // stride) * -(-size.width // stride) for stride in spec.strides)
    count = cells * _anchors(found.get("boxes", ()), cells)
    expected: Mapping[str, SizeOf] = {
        "images": (free, 3, size.height, size.width),
        "boxes": (free, count, 4),
        "scores": (free, count, classes),
    }
    if found != expected or len(graph.input) != 1:
        yield f"inputs and outputs are {found}, not {expected}"
    for value in [*graph.input, *graph.output]:
        if value.type.tensor_type.elem_type != TensorProto.FLOAT:
            yield f"{value.name} is {_type_name(value)}, not FLOAT"


def computes_in_float32(model: ModelProto, spec: Spec, batch: int | None) -> Iterator[str]:
    """Integers occur as constants and between a quantizer and its dequantizer only: all else is float32."""
    known = {value.name: value for value in [*model.graph.value_info, *model.graph.output]}
    for node in model.graph.node:
        expected = TensorProto.INT8 if node.op_type == "QuantizeLinear" else TensorProto.FLOAT
        for name in node.output:
            if name not in known:
                yield f"{name} has no type"
            elif known[name].type.tensor_type.elem_type != expected:
                yield f"{name} is {_type_name(known[name])}"


def has_known_sizes(model: ModelProto, spec: Spec, batch: int | None) -> Iterator[str]:
    """Every tensor's sizes are numbers, but for the first of each where the batch is free."""
    for value in model.graph.value_info:
        sizes = _sizes(value)
        if any(not isinstance(side, int) for side in (sizes if batch is not None else sizes[1:])):
            yield f"{value.name} has sizes {list(sizes)}"


def keeps_its_weights_itself(model: ModelProto, spec: Spec, batch: int | None) -> Iterator[str]:
    """One file: no weight lies in another."""
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            yield f"{tensor.name} lies in another file"


def has_no_trace_of_its_maker(model: ModelProto, spec: Spec, batch: int | None) -> Iterator[str]:
    """No documentation strings or notes: exporters put source lines and local paths there."""
    graph = model.graph
    for part in [graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output]:
        if part.doc_string or part.metadata_props:
            yield f"{part.name} carries notes"


def says_what_it_is(model: ModelProto, spec: Spec, batch: int | None) -> Iterator[str]:
    """The metadata reads back as the specification."""
    try:
        read = read_spec(read_metadata(model))
    except EdgedetError as error:
        yield error.what
        return
    if read != spec:
        yield "its metadata is not the specification it was exported with"


Check = Callable[[ModelProto, Spec, int | None], Iterator[str]]

CHECKS: Mapping[str, Check] = {
    "valid ONNX": is_valid,
    f"opset {OPSET}, IR version {IR_VERSION}, no functions": is_readable_by_old_runtimes,
    "no training-only node": has_no_training_only_nodes,
    "constants and batch normalisation folded": is_folded,
    "float32 images in, float32 boxes and scores out": has_the_promised_interface,
    "float32 between all nodes": computes_in_float32,
    "known sizes": has_known_sizes,
    "weights in the file": keeps_its_weights_itself,
    "no local paths or notes": has_no_trace_of_its_maker,
    "metadata reads back": says_what_it_is,
}


def _anchors(boxes: SizeOf, cells: int) -> int:
    """Boxes a cell in an output of these sizes; 1 where they are none."""
    count = boxes[1] if len(boxes) == 3 else cells
    return max(1, count // cells) if isinstance(count, int) else 1


def _sizes(value: ValueInfoProto) -> SizeOf:
    return tuple(
        side.dim_value if side.HasField("dim_value") else side.dim_param for side in value.type.tensor_type.shape.dim
    )


def _type_name(value: ValueInfoProto) -> str:
    return str(TensorProto.DataType.Name(value.type.tensor_type.elem_type))
