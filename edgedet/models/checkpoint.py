"""Checkpoints: tensors and plain data only, loaded with `weights_only=True`."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from edgedet.errors import EdgedetError
from edgedet.files import atomic_path
from edgedet.models.detector import Detector
from edgedet.models.zoo import build_detector
from edgedet.spec import Spec, spec_from_json

FORMAT = "edgedet-checkpoint"
VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint.

    Attributes:
        detector: in eval mode, on the CPU.
        spec: pre- and post-processing, class names.
        training: the training state (`edgedet.train.state`), None in a checkpoint for inference only.
    """

    detector: Detector
    spec: Spec
    training: dict[str, Any] | None


def save_checkpoint(
    path: Path, detector: Detector, spec: Spec, *, weights: Mapping[str, Any] | None = None, training: Any = None
) -> None:
    """Writes a checkpoint, all or nothing.

    Args:
        path: the file to write.
        detector: its architecture and, unless `weights` is given, its weights.
        spec: pre- and post-processing, class names.
        weights: another state dict of the same architecture, e.g. an average of the weights.
        training: what exact resuming needs: plain data and tensors.
    """
    content = {
        "format": FORMAT,
        "version": VERSION,
        "architecture": dict(detector.architecture),
        "spec": spec.to_json(),
        "weights": {name: tensor.detach().cpu() for name, tensor in (weights or detector.state_dict()).items()},
        "training": training,
    }
    with atomic_path(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:
            # PyTorch's zip writer reports a full disk as a RuntimeError without errno.
            raise EdgedetError(
                f"cannot write the checkpoint ({str(error).splitlines()[0]})",
                where=path,
                fix="free some space on that disk, or write elsewhere",
            ) from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint; one that is truncated, foreign or does not fit its architecture is an EdgedetError."""
    content = _load_plain(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise EdgedetError("not an edgedet checkpoint", where=path, fix="give a .pt file that `edgedet train` wrote")
    if content.get("version") != VERSION:
        fix = "update edgedet, or train again"
        raise EdgedetError(f"checkpoint of version {content.get('version')!r}, not {VERSION}", where=path, fix=fix)
    detector = _build(content.get("architecture"), path)
    weights = content.get("weights")
    if not isinstance(weights, dict):
        raise EdgedetError("the checkpoint holds no weights", where=path)
    load_weights(detector, weights, where=path)
    spec = spec_from_json(str(content.get("spec")), where=path)
    if len(spec.class_names) != detector.num_classes or spec.strides != detector.strides:
        raise EdgedetError("the checkpoint's specification does not fit its architecture", where=path)
    return Checkpoint(detector.eval(), spec, content.get("training"))


def load_weights(detector: Detector, weights: Mapping[str, Any], *, where: object) -> None:
    """Loads a state dict strictly; the error names the architecture and the first keys that do not fit."""
    expected = detector.state_dict()
    missing = [key for key in expected if key not in weights]
    unexpected = [key for key in weights if key not in expected]
    wrong = [
        key
        for key, tensor in expected.items()
        if key in weights and getattr(weights[key], "shape", None) != tensor.shape
    ]
    if missing or unexpected or wrong:
        found = [
            f"{kind} {keys[0]!r}" + (f" and {len(keys) - 1} more" if len(keys) > 1 else "")
            for kind, keys in (("misses", missing), ("has the unknown", unexpected), ("has another shape for", wrong))
            if keys
        ]
        raise EdgedetError(
            f"its weights are of another architecture than {detector.architecture['name']}: it {'; it '.join(found)}",
            where=where,
            fix="give a checkpoint of the same model and number of classes",
        )
    detector.load_state_dict(weights)


def _load_plain(path: Path) -> Any:
    if not path.is_file():
        raise EdgedetError("no such file", where=path, fix="check the path of the checkpoint")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        fix = "give a .pt file that `edgedet train` wrote; other pickles are never executed"
        raise EdgedetError("not an edgedet checkpoint: it holds more than tensors", where=path, fix=fix) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        fix = "copy it again, or use the previous checkpoint of the run"
        raise EdgedetError("the checkpoint is truncated or not a checkpoint at all", where=path, fix=fix) from error


def _build(architecture: Any, path: Path) -> Detector:
    if not isinstance(architecture, dict):
        raise EdgedetError("the checkpoint does not say which model it is of", where=path)
    name, classes, activation = (architecture.get(key) for key in ("name", "num_classes", "activation"))
    if not isinstance(name, str) or not isinstance(classes, int) or not isinstance(activation, str):
        raise EdgedetError("the checkpoint does not say which model it is of", where=path)
    if classes > 10_000:
        raise EdgedetError(f"the checkpoint claims {classes} classes", where=path)
    return build_detector(name, classes, activation=activation)
