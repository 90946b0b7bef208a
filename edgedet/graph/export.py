"""From a detector to the master ONNX, written only after it was checked and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

from edgedet.errors import CheckFailedError, EdgedetError
from edgedet.files import atomic_path, require_output, sha256_file
from edgedet.graph.checks import require_sound
from edgedet.graph.divergence import located, require_tensors_agree
from edgedet.graph.gates import is_gated, with_gates
from edgedet.graph.integer_kernels import IntegerKernels, integer_kernels, require_integer_kernels
from edgedet.graph.lint.finding import Finding
from edgedet.graph.lint.run import ONNX_RUNTIME, TENSORRT, lint_graph
from edgedet.graph.lowerings.float32_nodes import names_of_unsafe
from edgedet.graph.lowerings.gated_plugin import with_plugins
from edgedet.graph.master import decoded, master_graph
from edgedet.graph.metadata import Gates, Provenance, with_provenance
from edgedet.graph.nms import require_same_detections, with_nms
from edgedet.graph.scan import largest_values
from edgedet.graph.source import find_model
from edgedet.graph.targets import MASTER, ORT_CPU, TARGETS, lower, place, require_target
from edgedet.graph.verify import (
    FEW_BITS_TOLERANCE,
    FLOAT16_TOLERANCE,
    FLOAT_TOLERANCE,
    INT8_TOLERANCE,
    Agreement,
    Images,
    Tolerance,
    compare,
    require_agreement,
    verification_images,
)
from edgedet.models.detector import DetectionNetwork, Detector
from edgedet.models.quantized.collapsing import collapsed
from edgedet.models.quantized.detector import QuantizedDetector, without_rounding
from edgedet.ops.cuda import MOST_CANDIDATES
from edgedet.ops.diou_nms import DIoUNMS
from edgedet.quant.calibrate import fit_to_noise
from edgedet.runtime import detector as runtime
from edgedet.runtime.backends import onnxruntime as onnxruntime_backend
from edgedet.runtime.backends.torch import TorchBackend
from edgedet.spec import Spec

SUFFIX = ".onnx"

LEAST_BITS_OF_INT8_TOLERANCE = 4


@dataclass(frozen=True)
class Export:
    """A written ONNX file.

    Attributes:
        path: the file.
        size_bytes: its size.
        spec: what it carries.
        target: what it is for, one of `edgedet.graph.targets.TARGETS`.
        quantized: whether it computes in INT8.
        opset: of ONNX.
        ir_version: of ONNX's file format.
        batch: its fixed batch size; None where the batch is free.
        nodes: how many nodes its graph has.
        checks: what was asserted of the graph.
        agreement: how far ONNX Runtime differs from the checkpoint.
        master_agreement: the same of the master that the file is a lowering of.
        kernels: what ONNX Runtime makes of its quantized convolutions and products; None where they are not for its
            integer kernels.
        kept_float32: nodes before the decoding of a float16 graph that stay float32, for the size of their values on
            the images of `agreement` or of their quantizers' steps; None where the graph is not float16.
        findings: what keeps it from being faster.
        nms: whether it suppresses boxes itself.
        gates: what became of gated convolutions; None where there were none.
    """

    path: Path
    size_bytes: int
    spec: Spec
    target: str
    quantized: bool
    opset: int
    ir_version: int
    batch: int | None
    nodes: int
    checks: tuple[str, ...]
    agreement: Agreement
    master_agreement: Agreement
    kernels: IntegerKernels | None = None
    kept_float32: tuple[str, ...] | None = None
    findings: tuple[Finding, ...] = ()
    nms: bool = False
    gates: Gates | None = None

    @property
    def needs_plugin(self) -> bool:
        """Whether no runtime can compute the file without edgedet's plugin or library of operators."""
        return (self.nms or self.gates == "gated") and not TARGETS[self.target].functions

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON can hold it."""
        return {
            "path": str(self.path),
            "size_bytes": self.size_bytes,
            "model": self.spec.model,
            "target": self.target,
            "quantized": self.quantized,
            "random_weights": self.spec.random_weights,
            "classes": len(self.spec.class_names),
            "imgsz": [self.spec.preprocess.height, self.spec.preprocess.width],
            "batch": self.batch,
            "opset": self.opset,
            "ir_version": self.ir_version,
            "nodes": self.nodes,
            "checks": list(self.checks),
            "agreement": self.agreement.to_dict(),
            "master_agreement": self.master_agreement.to_dict(),
            "kernels": None if self.kernels is None else asdict(self.kernels),
            "kept_float32": None if self.kept_float32 is None else list(self.kept_float32),
            "nms": self.nms,
            "gates": self.gates,
            "needs_plugin": self.needs_plugin,
            "findings": [finding.to_dict() for finding in self.findings],
        }


def export_model(
    model: str,
    out: Path | None = None,
    *,
    target: str = MASTER,
    data: Path | None = None,
    batch: int = 1,
    dynamic_batch: bool = False,
    classes: int | None = None,
    size: tuple[int, int] | None = None,
    activation: str | None = None,
    nms: bool = False,
    gates: Gates = "full",
) -> Export:
    """Exports a checkpoint or a model by name; `export_onnx` on paths.

    Args:
        model: see `edgedet.graph.source.find_model`, as are `classes`, `size` and `activation`.
        out: the file to write; None means beside the checkpoint, or `<model>.onnx` here for a model by name, with the
            target before the suffix unless it is the master.
        target: one of `edgedet.graph.targets.TARGETS`. For one that is INT8 a model by name gets grids that fit noise.
        data: what the file is compared on, and what the ranges of a float16 one are measured on, see
            `edgedet.graph.verify.verification_images`.
        batch: the file's batch size, unless `dynamic_batch`.
        dynamic_batch: leave the batch size free.
        nms: let the file suppress boxes itself, see `export_onnx`.
        gates: what becomes of gated convolutions, see `export_onnx`.
    """
    require_target(target)
    detector, spec = find_model(model, classes=classes, size=size, activation=activation)
    if isinstance(detector, Detector) and not TARGETS[target].of_float:
        if not spec.random_weights:
            others = ", ".join(name for name, target in TARGETS.items() if target.of_float)
            fix = f"quantize it first: edgedet quantize {model} DATA; or give another target ({others})"
            raise EdgedetError(f"a float checkpoint has nothing to lower for {target}", where=model, fix=fix)
        detector = fit_to_noise(detector, spec.preprocess)
    if out is None:
        suffix = SUFFIX if target == MASTER else f".{target}{SUFFIX}"
        out = Path(f"{model}{suffix}") if spec.random_weights else Path(model).with_suffix(suffix)
    return export_onnx(
        detector,
        spec,
        out,
        target=target,
        batch=batch,
        dynamic_batch=dynamic_batch,
        images=verification_images(data),
        nms=nms,
        gates=gates,
        checkpoint_sha256=None if spec.random_weights else sha256_file(Path(model)),
    )


def export_onnx(
    detector: DetectionNetwork,
    spec: Spec,
    path: Path,
    *,
    target: str = MASTER,
    batch: int = 1,
    dynamic_batch: bool = False,
    images: Images | None = None,
    nms: bool = False,
    gates: Gates = "full",
    checkpoint_sha256: str | None = None,
) -> Export:
    """Writes the ONNX file of a detector, after its graph was checked and ONNX Runtime agreed with the detector.

    The same detector and specification give the same bytes.

    Args:
        detector: left as it is.
        spec: travels in the file; its input size is the file's.
        path: the file to write, ending in `.onnx`. Left as it was where anything fails.
        target: one of `edgedet.graph.targets.TARGETS`.
        batch: the file's batch size, unless `dynamic_batch`.
        dynamic_batch: leave the batch size free.
        images: what the two are compared on, and what the ranges of a float16 graph are measured on; None means
            generated images.
        nms: let the file give detections, by the specification's DIoU-NMS, instead of boxes and scores. They are held
            to what edgedet's runtime makes of the file's boxes and scores: the same numbers in the same order.
        gates: what becomes of gated convolutions: `gated`, as edgedet's operator with the function that defines it;
            or plain ones of their whole input (`full`), or of its high bits alone (`high`).
        checkpoint_sha256: of the file that the detector was read from, to be told in the metadata.

    Raises:
        EdgedetError: gates are asked for that the detector or the target does not have; the path cannot be written, or
            the input size does not suit the detector.
        CheckFailedError: a check does not hold, or ONNX Runtime does not agree: the message names the first tensor from
            which the master or the lowering diverges.
    """
    require_output(path, SUFFIX)
    if nms and not TARGETS[target].functions and spec.postprocess.pre_nms_top_k > MOST_CANDIDATES:
        raise EdgedetError(
            f"TensorRT's plugin for DIoU-NMS compares {MOST_CANDIDATES} candidates at most",
            fix=f"set pre_nms_top_k to {MOST_CANDIDATES} or less (it is {spec.postprocess.pre_nms_top_k})",
        )
    _require_gates(detector, target, gates)
    whole = collapsed(detector, "high" if gates == "high" else "full") if is_gated(detector) else detector
    master = master_graph(whole, spec, batch=batch, dynamic_batch=dynamic_batch)
    fixed_batch = None if dynamic_batch else batch
    checks = require_sound(master, spec, batch=fixed_batch)
    images = images or verification_images(None)
    ranges = kept_float32 = None
    if TARGETS[target].float16:
        placed = place(master, target)
        ranges = largest_values(placed, spec, images)
        kept_float32 = names_of_unsafe(placed, ranges)
    provenance = Provenance(
        target=target,
        checkpoint_sha256=checkpoint_sha256,
        calibration_sha256=_calibration_sha256(detector),
        gates=gates if is_gated(detector) else None,
    )
    kept = with_gates(master, detector) if gates == "gated" else master
    model = with_provenance(lower(kept, target, ranges), provenance)
    onnx.checker.check_model(model, full_check=True)
    kernels = integer_kernels(model) if target == ORT_CPU else None
    if kernels is not None:
        require_integer_kernels(kernels, where=path)
    graphs = {MASTER: (master, whole), target: (model, detector if gates == "gated" else whole)}
    few_bits = _has_few_bits(detector, gates)
    with atomic_path(path) as temporary:
        try:
            agreements = [
                _agreement(graph, temporary, of, spec, images, _tolerance(graph, name, few_bits), where=path)
                for name, (graph, of) in graphs.items()
            ]
        except CheckFailedError as error:
            raise located(error, whole, spec, [graph for graph, _ in graphs.values()], images) from error
        if few_bits:
            rounding = [graph for graph, _ in graphs.values() if _is_quantized(graph)]
            require_tensors_agree(whole, spec, rounding, images, where=path)
        if nms:
            model = _add_nms(model, temporary, spec, images, keep_body=TARGETS[target].functions, where=path)
        if gates == "gated" and not TARGETS[target].functions:
            model = with_plugins(model)
            temporary.write_bytes(model.SerializeToString(deterministic=True))
        size = temporary.stat().st_size
    return Export(
        path=path,
        size_bytes=size,
        spec=spec,
        target=target,
        quantized=_is_quantized(model),
        opset=model.opset_import[0].version,
        ir_version=model.ir_version,
        batch=fixed_batch,
        nodes=len(model.graph.node),
        checks=checks,
        agreement=agreements[-1],
        master_agreement=agreements[0],
        kernels=kernels,
        findings=tuple(lint_graph(model, runtime=ONNX_RUNTIME if target == ORT_CPU else TENSORRT)),
        kept_float32=kept_float32,
        nms=nms,
        gates=gates if is_gated(detector) else None,
    )


def _require_gates(detector: DetectionNetwork, target: str, gates: Gates) -> None:
    """Refuses gates that the detector or the target does not have."""
    if gates == "full":
        return
    if not is_gated(detector):
        raise EdgedetError("the detector has no gated convolutions", where="--gates", fix="train it with --pg")
    if gates == "gated" and not TARGETS[target].gated:
        others = [name for name, one in TARGETS.items() if one.gated]
        raise _no_gates(f"gates are no part of files for {target}", others)
    if gates == "high" and not TARGETS[target].rounds:
        others = [name for name, one in TARGETS.items() if one.rounds]
        raise _no_gates(f"nothing is rounded in files for {target}, so they have no high bits", others)


def _no_gates(what: str, others: Sequence[str]) -> EdgedetError:
    return EdgedetError(what, where="--gates", fix=f"--target {' or '.join(others)}, or --gates full")


def _calibration_sha256(detector: DetectionNetwork) -> str | None:
    calibration = detector.recipe.calibration if isinstance(detector, QuantizedDetector) else None
    return None if calibration is None else calibration.images_sha256


def _has_few_bits(detector: DetectionNetwork, gates: Gates) -> bool:
    """Whether a file has convolutions whose inputs have fewer than 4 bits everywhere."""
    if gates == "gated" or not is_gated(detector):
        return False
    gating = detector.recipe.gating
    assert gating is not None
    return (gating.high_bits if gates == "high" else gating.bits) < LEAST_BITS_OF_INT8_TOLERANCE


def _tolerance(graph: ModelProto, target: str, few_bits: bool) -> Tolerance:
    if _is_quantized(graph):
        return FEW_BITS_TOLERANCE if few_bits else INT8_TOLERANCE
    return FLOAT16_TOLERANCE if TARGETS[target].float16 else FLOAT_TOLERANCE


def _agreement(
    graph: ModelProto,
    file: Path,
    detector: DetectionNetwork,
    spec: Spec,
    images: Images,
    tolerance: Tolerance,
    *,
    where: Path,
) -> Agreement:
    """Writes a graph to a file and holds what ONNX Runtime makes of the file to the detector."""
    file.write_bytes(graph.SerializeToString(deterministic=True))
    exported = runtime.Detector(*onnxruntime_backend.load(file))
    if isinstance(detector, QuantizedDetector) and not _is_quantized(graph):
        detector = without_rounding(detector)
    reference = runtime.Detector(TorchBackend(decoded(detector, spec)), spec)
    agreement = compare(reference, exported, images, tolerance)
    require_agreement(agreement, where=where)
    return agreement


def _add_nms(model: ModelProto, file: Path, spec: Spec, images: Images, *, keep_body: bool, where: Path) -> ModelProto:
    """Puts NMS into the graph in a file, and holds its detections to those of NMS behind the graph.

    Without its body, which they are computed by here, nothing but a plugin or an operator's library runs the file.
    """
    without = runtime.Detector(*onnxruntime_backend.load(file))
    model = with_nms(model, DIoUNMS(**spec.postprocess.model_dump()))
    file.write_bytes(model.SerializeToString(deterministic=True))
    require_same_detections(without, runtime.Detector(*onnxruntime_backend.load(file)), images, where=where)
    if not keep_body:
        del model.functions[:]
        file.write_bytes(model.SerializeToString(deterministic=True))
    return model


def _is_quantized(graph: ModelProto) -> bool:
    return any(node.op_type == "QuantizeLinear" for node in graph.graph.node)
