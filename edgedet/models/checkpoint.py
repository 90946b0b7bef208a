"""Checkpoints: tensors and plain data only, loaded with `weights_only=True`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgedet.config import parse
from edgedet.errors import EdgedetError
from edgedet.files import MEBIBYTE, atomic_path
from edgedet.models.detector import INPUT_MULTIPLE, DetectionNetwork, Detector
from edgedet.models.quantized.detector import QuantizedDetector
from edgedet.models.quantized.fake_quantize import FakeQuantize
from edgedet.models.quantized.provenance import require_fresh
from edgedet.models.quantized.recipe import Recipe
from edgedet.models.torch_file import is_dense, load_plain
from edgedet.models.zoo import DEFAULT_OPTIONS, build_detector
from edgedet.spec import Spec, spec_from_json

FORMAT = "edgedet-checkpoint"
VERSION = 1
LIMIT = 1024 * MEBIBYTE
MAX_CLASSES = 10_000


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint.

    Attributes:
        detector: in eval mode, on the CPU; a `QuantizedDetector` where it was quantized.
        spec: pre- and post-processing, class names.
        training: the training state (`edgedet.train.state`, which checks it), None in a checkpoint for inference only.
    """

    detector: DetectionNetwork
    spec: Spec
    training: Any

    @property
    def float_detector(self) -> Detector:
        """The detector, for work that only a float one can be used for."""
        if not isinstance(self.detector, Detector):
            fix = "give the float checkpoint that it was made of"
            raise EdgedetError("the checkpoint is quantized already", fix=fix)
        return self.detector


def save_checkpoint(path: Path, detector: DetectionNetwork, spec: Spec, *, training: Any = None) -> None:
    """Writes a checkpoint, all or nothing.

    Args:
        path: the file to write.
        detector: its architecture and weights.
        spec: pre- and post-processing, class names.
        training: what exact resuming needs: plain data and tensors.
    """
    content = {
        "format": FORMAT,
        "version": VERSION,
        "architecture": dict(detector.architecture),
        "spec": spec.to_json(),
        "quantization": detector.recipe.model_dump_json() if isinstance(detector, QuantizedDetector) else None,
        "weights": {name: tensor.detach().cpu() for name, tensor in detector.state_dict().items()},
        "training": training,
    }
    with atomic_path(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:
            # PyTorch's zip writer reports a full disk as a RuntimeError without errno.
            raise EdgedetError(
                "cannot write the checkpoint",
                where=path,
                fix="free some space on that disk, or write elsewhere",
            ) from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint.

    Raises:
        EdgedetError: the file is missing, truncated or foreign, or its parts do not fit one another; its grids were
            calibrated for other weights or other images.
    """
    content = load_plain(path, limit=LIMIT)
    if not isinstance(content, dict) or not _is(content.get("format"), FORMAT):
        raise EdgedetError("not an edgedet checkpoint", where=path, fix="give a .pt file that `edgedet train` wrote")
    if not _is(content.get("version"), VERSION):
        raise EdgedetError(f"not a checkpoint of version {VERSION}", where=path, fix="update edgedet, or train again")
    detector = _quantized(_build(content.get("architecture"), path), content.get("quantization"), path)
    _load_weights(detector, content.get("weights"), path)
    spec = _spec(content.get("spec"), detector, path)
    if isinstance(detector, QuantizedDetector):
        if not all((module.scale > 0).all() for module in detector.modules() if isinstance(module, FakeQuantize)):
            raise EdgedetError("the checkpoint holds a grid without width", where=path, fix="quantize it again")
        require_fresh(detector, spec.preprocess, where=path)
    return Checkpoint(detector.eval(), spec, content.get("training"))


def _is(value: Any, expected: str | int) -> bool:
    """Compared only within the type: what a stranger's tensor makes of `==` is no truth value."""
    return type(value) is type(expected) and value == expected


def _build(architecture: Any, path: Path) -> Detector:
    if not isinstance(architecture, dict):
        raise EdgedetError("the checkpoint does not say which model it is of", where=path)
    name, classes, activation = (architecture.get(key) for key in ("name", "num_classes", "activation"))
    if not isinstance(name, str) or not isinstance(classes, int) or not isinstance(activation, str):
        raise EdgedetError("the checkpoint does not say which model it is of", where=path)
    options = {key: architecture.get(key, default) for key, default in DEFAULT_OPTIONS.items()}
    if any(type(options[key]) is not type(default) for key, default in DEFAULT_OPTIONS.items()):
        raise EdgedetError("the checkpoint does not say which model it is of", where=path)
    if not 1 <= classes <= MAX_CLASSES:
        raise EdgedetError(f"the checkpoint claims more than {MAX_CLASSES} classes, or none", where=path)
    try:
        return build_detector(name, classes, activation=activation, **options)
    except EdgedetError as error:
        what = f"the checkpoint is of a detector that cannot be built: {error.what}"
        raise EdgedetError(what, where=path, fix="update edgedet") from error


def _quantized(detector: Detector, text: Any, path: Path) -> DetectionNetwork:
    if text is None:
        return detector
    try:
        if not isinstance(text, str):
            raise ValueError("not text")
        return QuantizedDetector(detector, parse(Recipe, json.loads(text), where=path))
    except (EdgedetError, ValueError, RecursionError) as error:
        fix = "quantize the float checkpoint again"
        raise EdgedetError("the checkpoint's quantization is not one of this model", where=path, fix=fix) from error


def _load_weights(detector: DetectionNetwork, weights: Any, path: Path) -> None:
    if not isinstance(weights, dict):
        raise EdgedetError("the checkpoint holds no weights", where=path)
    problems = list(_misfits(detector.state_dict(), weights))
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        name, classes = detector.architecture["name"], detector.num_classes
        raise EdgedetError(
            f"its weights are not those of {name} with {classes} classes: {'; '.join(problems[:3])}{more}",
            where=path,
            fix="use another checkpoint of the run, or train again",
        )
    detector.load_state_dict(weights)


def _misfits(expected: Mapping[str, Tensor], weights: Mapping[Any, Any]) -> Iterator[str]:
    """What keeps the weights from being the expected ones, a phrase each."""
    for name, tensor in expected.items():
        found = weights.get(name)
        if found is None:
            yield f"{name} is missing"
        elif not is_dense(found) or found.is_floating_point() != tensor.is_floating_point():
            yield f"{name} is not a tensor of {tensor.dtype}"
        elif found.shape != tensor.shape:
            yield f"{name} is {list(found.shape)}, not {list(tensor.shape)}"
        elif not found.isfinite().all():
            yield f"{name} holds values that are not finite"
    unknown = weights.keys() - expected.keys()
    if unknown:
        yield f"{len(unknown)} of its tensors belong elsewhere"


def _spec(text: Any, detector: DetectionNetwork, path: Path) -> Spec:
    if not isinstance(text, str):
        raise EdgedetError("the checkpoint holds no specification", where=path)
    spec = spec_from_json(text, where=path)
    sides = (spec.preprocess.height, spec.preprocess.width)
    fits = len(spec.class_names) == detector.num_classes and spec.strides == detector.strides
    if not fits or any(side % INPUT_MULTIPLE for side in sides):
        raise EdgedetError("the checkpoint's specification does not fit its architecture", where=path)
    return spec
