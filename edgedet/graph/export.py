"""From a detector to the master ONNX, written only after it was checked and compared."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import ModelProto

from edgedet.errors import EdgedetError
from edgedet.files import atomic_path, require_writable_folder
from edgedet.graph.checks import require_sound
from edgedet.graph.metadata import with_metadata
from edgedet.graph.naming import readable_names, without_traces
from edgedet.graph.opset import IR_VERSION, OPSET, to_opset_17
from edgedet.graph.source import find_model
from edgedet.graph.verify import Agreement, Images, compare, require_agreement, verification_images
from edgedet.models.detector import DecodedDetector, Detector
from edgedet.models.folding.batch_norm import fold_batch_norm
from edgedet.models.folding.channel_shuffle import fold_channel_shuffles
from edgedet.models.threads import one_thread
from edgedet.models.zoo import require_input_size
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
    """A written master ONNX.

    Attributes:
        path: the file.
        size_bytes: its size.
        spec: what it carries.
        batch: its fixed batch size; None where the batch is free.
        nodes: how many nodes its graph has.
        checks: what was asserted of the graph.
        agreement: how far ONNX Runtime differs from the checkpoint.
    """

    path: Path
    size_bytes: int
    spec: Spec
    batch: int | None
    nodes: int
    checks: tuple[str, ...]
    agreement: Agreement

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON can hold it."""
        return {
            "path": str(self.path),
            "size_bytes": self.size_bytes,
            "model": self.spec.model,
            "random_weights": self.spec.random_weights,
            "classes": len(self.spec.class_names),
            "imgsz": [self.spec.preprocess.height, self.spec.preprocess.width],
            "batch": self.batch,
            "opset": OPSET,
            "ir_version": IR_VERSION,
            "nodes": self.nodes,
            "checks": list(self.checks),
            "agreement": self.agreement.to_dict(),
        }


def export_model(
    model: str,
    out: Path | None = None,
    *,
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
        out: the file to write; None means beside the checkpoint, or `<model>.onnx` here for a model by name.
        data: what the file is compared on, see `edgedet.graph.verify.verification_images`.
        batch: the file's batch size, unless `dynamic_batch`.
        dynamic_batch: leave the batch size free.
    """
    detector, spec = find_model(model, classes=classes, size=size, activation=activation)
    if out is None:
        out = Path(f"{model}{SUFFIX}") if spec.random_weights else Path(model).with_suffix(SUFFIX)
    images = verification_images(data)
    return export_onnx(detector, spec, out, batch=batch, dynamic_batch=dynamic_batch, images=images)


def export_onnx(
    detector: Detector,
    spec: Spec,
    path: Path,
    *,
    batch: int = 1,
    dynamic_batch: bool = False,
    images: Images | None = None,
) -> Export:
    """Writes the master ONNX of a detector, after its graph was checked and ONNX Runtime agreed with the detector.

    The same detector and specification give the same bytes.

    Args:
        detector: left as it is.
        spec: travels in the file; its input size is the file's.
        path: the file to write, ending in `.onnx`. Left as it was where anything fails.
        batch: the file's batch size, unless `dynamic_batch`.
        dynamic_batch: leave the batch size free.
        images: what the two are compared on; None means generated images.

    Raises:
        EdgedetError: the path cannot be written, or the input size does not suit the detector.
        CheckFailedError: a check does not hold, or ONNX Runtime does not agree.
    """
    _require_output(path)
    model = master_graph(detector, spec, batch=batch, dynamic_batch=dynamic_batch)
    fixed_batch = None if dynamic_batch else batch
    checks = require_sound(model, spec, batch=fixed_batch)
    data = model.SerializeToString(deterministic=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
        backend, written_spec = onnxruntime_backend.load(temporary)
        exported = runtime.Detector(backend, written_spec)
        reference = runtime.Detector(TorchBackend(_decoded(detector, spec)), spec)
        agreement = compare(reference, exported, images or verification_images(None))
        require_agreement(agreement, where=path)
    return Export(path, len(data), spec, fixed_batch, len(model.graph.node), checks, agreement)


def master_graph(detector: Detector, spec: Spec, *, batch: int, dynamic_batch: bool) -> ModelProto:
    """The master ONNX graph of a detector: folded, traced by `torch.export`, then tidied."""
    folded = fold_batch_norm(_decoded(fold_channel_shuffles(detector), spec))
    model = _traced(folded, spec, batch=batch, dynamic_batch=dynamic_batch)
    model = readable_names(to_opset_17(model))
    model = with_metadata(without_traces(model), spec, batch=1 if dynamic_batch else batch)
    return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)


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
        )
    assert program is not None
    return program.model_proto


def _decoded(detector: Detector, spec: Spec) -> DecodedDetector:
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
