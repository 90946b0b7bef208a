"""From a detector to the master ONNX, written only after it was checked and compared."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import ModelProto

from edgedet.errors import EdgedetError
from edgedet.files import atomic_path, require_writable_folder
from edgedet.graph.checks import require_sound
from edgedet.graph.integer_kernels import IntegerKernels, integer_kernels, require_integer_kernels
from edgedet.graph.lowerings.float32_nodes import names_of_unsafe
from edgedet.graph.metadata import with_metadata
from edgedet.graph.naming import readable_names, without_traces
from edgedet.graph.opset import to_opset_17
from edgedet.graph.scan import largest_values
from edgedet.graph.source import find_model
from edgedet.graph.targets import MASTER, ORT_CPU, TARGETS, lower, place, require_target
from edgedet.graph.translations import TRANSLATIONS
from edgedet.graph.verify import (
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
from edgedet.models.detector import DecodedDetector, DetectionNetwork, Detector
from edgedet.models.folding.batch_norm import fold_batch_norm
from edgedet.models.folding.channel_shuffle import fold_channel_shuffles
from edgedet.models.quantized.detector import QuantizedDetector, with_rounded_carriers, without_rounding
from edgedet.models.quantized.detector import folded as fold_quantized
from edgedet.models.threads import one_thread
from edgedet.models.zoo import require_input_size
from edgedet.quant.calibrate import fit_to_noise
from edgedet.runtime import detector as runtime
from edgedet.runtime.backends import onnxruntime as onnxruntime_backend
from edgedet.runtime.backends.torch import TorchBackend
from edgedet.spec import Spec

SUFFIX = ".onnx"

TRACED_OPSET = 18
"""The oldest that PyTorch's exporter writes itself."""

DYNAMIC_EXAMPLE_BATCH = 2
"""`torch.export` takes a size of 1 for a fixed one."""


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
        kernels: what ONNX Runtime makes of its quantized convolutions; None where they are not for its integer kernels.
        kept_float32: nodes before the decoding of a float16 graph that stay float32, for the size of their values on
            the images of `agreement` or of their quantizers' steps; None where the graph is not float16.
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
    kernels: IntegerKernels | None = None
    kept_float32: tuple[str, ...] | None = None

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
            "kernels": None if self.kernels is None else asdict(self.kernels),
            "kept_float32": None if self.kept_float32 is None else list(self.kept_float32),
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
    images = verification_images(data)
    return export_onnx(detector, spec, out, target=target, batch=batch, dynamic_batch=dynamic_batch, images=images)


def export_onnx(
    detector: DetectionNetwork,
    spec: Spec,
    path: Path,
    *,
    target: str = MASTER,
    batch: int = 1,
    dynamic_batch: bool = False,
    images: Images | None = None,
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

    Raises:
        EdgedetError: the path cannot be written, or the input size does not suit the detector.
        CheckFailedError: a check does not hold, or ONNX Runtime does not agree.
    """
    _require_output(path)
    model = master_graph(detector, spec, batch=batch, dynamic_batch=dynamic_batch)
    fixed_batch = None if dynamic_batch else batch
    checks = require_sound(model, spec, batch=fixed_batch)
    images = images or verification_images(None)
    ranges = kept_float32 = None
    if TARGETS[target].float16:
        placed = place(model, target)
        ranges = largest_values(placed, spec, images)
        kept_float32 = names_of_unsafe(placed, ranges)
    model = lower(model, target, ranges)
    onnx.checker.check_model(model, full_check=True)
    quantized = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    kernels = integer_kernels(model) if target == ORT_CPU else None
    if kernels is not None:
        require_integer_kernels(kernels, where=path)
    data = model.SerializeToString(deterministic=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
        backend, written_spec = onnxruntime_backend.load(temporary)
        exported = runtime.Detector(backend, written_spec)
        computed = detector
        if isinstance(detector, QuantizedDetector) and not quantized:
            computed = without_rounding(detector)
        reference = runtime.Detector(TorchBackend(_decoded(computed, spec)), spec)
        agreement = compare(reference, exported, images, _tolerance(target, quantized))
        require_agreement(agreement, where=path)
    return Export(
        path=path,
        size_bytes=len(data),
        spec=spec,
        target=target,
        quantized=quantized,
        opset=model.opset_import[0].version,
        ir_version=model.ir_version,
        batch=fixed_batch,
        nodes=len(model.graph.node),
        checks=checks,
        agreement=agreement,
        kernels=kernels,
        kept_float32=kept_float32,
    )


def _tolerance(target: str, quantized: bool) -> Tolerance:
    if quantized:
        return INT8_TOLERANCE
    return FLOAT16_TOLERANCE if TARGETS[target].float16 else FLOAT_TOLERANCE


def master_graph(detector: DetectionNetwork, spec: Spec, *, batch: int, dynamic_batch: bool) -> ModelProto:
    """The master ONNX graph of a detector: folded, traced by `torch.export`, then tidied."""
    model = _traced(_folded(detector, spec), spec, batch=batch, dynamic_batch=dynamic_batch)
    model = readable_names(to_opset_17(model))
    model = with_metadata(without_traces(model), spec, batch=1 if dynamic_batch else batch)
    return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)


def _folded(detector: DetectionNetwork, spec: Spec) -> torch.nn.Module:
    if isinstance(detector, QuantizedDetector):
        return _decoded(with_rounded_carriers(fold_quantized(detector)), spec)
    return fold_batch_norm(_decoded(fold_channel_shuffles(detector), spec))


def _traced(network: torch.nn.Module, spec: Spec, *, batch: int, dynamic_batch: bool) -> ModelProto:
    size = spec.preprocess
    example = torch.zeros(DYNAMIC_EXAMPLE_BATCH if dynamic_batch else batch, 3, size.height, size.width)
    with _quiet(), one_thread(), torch.no_grad():
        program = torch.onnx.export(
            network,
            (example,),
            input_names=["images"],
            output_names=["boxes", "scores"],
            opset_version=TRACED_OPSET,
            dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}} if dynamic_batch else None,
            dynamo=True,
            external_data=False,
            verbose=False,
            custom_translation_table=dict(TRANSLATIONS),
        )
    assert program is not None
    return program.model_proto


def _decoded(detector: DetectionNetwork, spec: Spec) -> DecodedDetector:
    """A copy for inference on the CPU in float32."""
    size = spec.preprocess
    require_input_size(size.height, size.width)
    return DecodedDetector(copy.deepcopy(detector).cpu().float().eval(), size.height, size.width).eval()


def _require_output(path: Path) -> None:
    """Finds out before the long work, not after it."""
    if path.suffix != SUFFIX:
        raise EdgedetError(f"an ONNX file ends in {SUFFIX}", where=path, fix=f"name it {path.name}{SUFFIX}")
    if path.is_dir():
        raise EdgedetError("the path is a folder", where=path, fix="name a file")
    require_writable_folder(path.parent)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter's remarks on its own workings (deprecations, packages it can do without) to itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
