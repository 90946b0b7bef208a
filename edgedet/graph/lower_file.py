"""From a master ONNX file to its lowering, without the checkpoint: what a bundle is made of where PyTorch is not."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import ModelProto

from edgedet.errors import EdgedetError
from edgedet.graph.integer_kernels import integer_kernels, require_integer_kernels
from edgedet.graph.metadata import Provenance, read_metadata, read_provenance, read_spec, with_provenance
from edgedet.graph.nms import with_nms, without_nms
from edgedet.graph.reading import read_onnx
from edgedet.graph.targets import MASTER, ORT_CPU, TARGETS, lower, require_target
from edgedet.graph.verify import FLOAT_TOLERANCE, INT8_TOLERANCE, Images, compare, require_agreement
from edgedet.ops.diou_nms import DIoUNMS
from edgedet.ops.diou_nms.definition import DOMAIN, OP_TYPE
from edgedet.runtime.backends import onnxruntime as onnxruntime_backend
from edgedet.runtime.detector import Detector
from edgedet.spec import Spec


@dataclass(frozen=True)
class Described:
    """What an ONNX file of edgedet's says of itself.

    Attributes:
        spec: pre- and post-processing.
        target: what it was exported for, `master` where it does not say.
        quantized: whether it computes in INT8.
        has_nms: whether it suppresses boxes itself.
        batch: images at once; None where that is free.
        provenance: what it was made of.
    """

    spec: Spec
    target: str
    quantized: bool
    has_nms: bool
    batch: int | None
    provenance: Provenance


def describe(path: Path) -> Described:
    """What an ONNX file says of itself.

    Raises:
        EdgedetError: it is not one of edgedet's.
    """
    return _described(read_onnx(path), path)


def lower_file(path: Path, target: str, images: Images) -> bytes:
    """The ONNX file of a float32 target, made of a master's; a file that is for this target already is taken as it is.

    Args:
        path: the file.
        target: of `edgedet.graph.targets.TARGETS`, not one of float16.
        images: what the lowering is held to its master on.

    Raises:
        EdgedetError: the file is for another target, or has nothing to lower for this one.
        CheckFailedError: the lowering gives something else than the master.
    """
    require_target(target)
    model = read_onnx(path)
    described = _described(model, path)
    if described.target == target:
        return path.read_bytes()
    if described.target != MASTER:
        fix = "give the master (edgedet export model.pt), or the checkpoint"
        raise EdgedetError(f"exported for {described.target}, and this needs {target}", where=path, fix=fix)
    plain = without_nms(model)
    lowered = with_provenance(lower(plain, target), described.provenance.model_copy(update={"target": target}))
    onnx.checker.check_model(lowered, full_check=True)
    if target == ORT_CPU:
        require_integer_kernels(integer_kernels(lowered), where=path)
    _hold(lowered, plain, described, images, path)
    if described.has_nms:
        lowered = with_nms(lowered, DIoUNMS(**described.spec.postprocess.model_dump()))
        if not TARGETS[target].functions:
            del lowered.functions[:]
    return lowered.SerializeToString(deterministic=True)


def marked(data: bytes, target: str) -> bytes:
    """The bytes of an ONNX file of edgedet's, which then say that they are for a target and no master any more."""
    model = ModelProto.FromString(data)
    provenance = read_provenance(read_metadata(model)) or Provenance(target=target)
    result = with_provenance(model, provenance.model_copy(update={"target": target}))
    return result.SerializeToString(deterministic=True)


def has_operators(data: bytes) -> bool:
    """Whether the bytes of an ONNX file hold operators of edgedet's, which a library computes faster, or alone."""
    return any(node.domain == DOMAIN for node in ModelProto.FromString(data).graph.node)


def interface(model: ModelProto) -> list[tuple[str, bool, tuple[int | None, ...], str]]:
    """The inputs and outputs of a graph: name, whether it is an input, sizes (None where one is free), NumPy's type."""
    found = []
    for is_input, values in ((True, model.graph.input), (False, model.graph.output)):
        for value in values:
            tensor = value.type.tensor_type
            shape = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim)
            found.append((value.name, is_input, shape, str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))))
    return found


def _hold(lowered: ModelProto, master: ModelProto, described: Described, images: Images, where: Path) -> None:
    """Holds what ONNX Runtime makes of the lowering to what it makes of the master."""
    with tempfile.TemporaryDirectory() as folder:
        reference, found = (
            _detector(graph, Path(folder) / f"{name}.onnx")
            for name, graph in (("master", master), ("lowered", lowered))
        )
        tolerance = INT8_TOLERANCE if described.quantized else FLOAT_TOLERANCE
        agreement = compare(reference, found, images, tolerance)
    require_agreement(agreement, what="the lowering does not agree with its master", where=where)


def _detector(graph: ModelProto, file: Path) -> Detector:
    file.write_bytes(graph.SerializeToString())
    return Detector(*onnxruntime_backend.load(file))


def _described(model: ModelProto, path: Path) -> Described:
    metadata = read_metadata(model)
    provenance = read_provenance(metadata, where=path) or Provenance(target=MASTER)
    batch = model.graph.input[0].type.tensor_type.shape.dim[0] if model.graph.input else None
    return Described(
        spec=read_spec(metadata, where=path),
        target=provenance.target,
        quantized=any(node.op_type == "QuantizeLinear" for node in model.graph.node),
        has_nms=any(node.op_type == OP_TYPE for node in model.graph.node),
        batch=batch.dim_value if batch is not None and batch.HasField("dim_value") else None,
        provenance=provenance,
    )
