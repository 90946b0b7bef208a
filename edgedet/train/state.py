"""Everything a run must remember to go on as if it had never stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from edgedet.data.sample import Sample
from edgedet.errors import EdgedetError
from edgedet.quant.oscillation import Oscillation


@dataclass
class Progress:
    """Where a run is.

    Attributes:
        step: steps done.
        best_map: highest mAP on the validation split so far; -1 before the first evaluation.
        loss_sums: sums of the parts of the loss over the steps of the epoch so far.
        seconds: time spent in the epoch so far, waiting for data included.
    """

    step: int = 0
    best_map: float = -1.0
    loss_sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


def capture(
    progress: Progress,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    precision: dict[str, Any],
    data_fingerprint: str,
    oscillation: dict[str, Tensor] | None = None,
) -> dict[str, Any]:
    """The training state as tensors and plain data."""
    return {
        "progress": vars(progress).copy(),
        "model": _on_cpu(model.state_dict()),
        "optimizer": _on_cpu(optimizer.state_dict()),
        "precision": precision,
        "data": data_fingerprint,
        "oscillation": _on_cpu(oscillation),
    }


def restore(
    state: Any,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data_fingerprint: str,
    oscillation: Oscillation | None = None,
    *,
    where: object,
) -> tuple[Progress, dict[str, Any]]:
    """Puts `capture`'s state back; returns the progress and the state of the precision plugin."""
    if not isinstance(state, dict) or not {"progress", "model", "optimizer", "precision", "data"} <= state.keys():
        fix = "resume from the run's folder: its last.pt holds the training state"
        raise EdgedetError("the checkpoint holds no training state", where=where, fix=fix)
    if state["data"] != data_fingerprint:
        fix = "restore the dataset as it was, or start a new run with --init"
        raise EdgedetError("the training images or boxes have changed since the run began", where=where, fix=fix)
    try:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        if oscillation is not None:
            oscillation.load_state_dict(state["oscillation"])
        progress = Progress(**state["progress"])
        if not isinstance(progress.step, int) or progress.step < 0:
            raise ValueError("not a number of steps")
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise EdgedetError("the checkpoint's training state does not fit this run", where=where) from error
    return progress, state["precision"]


def data_fingerprint(samples: Sequence[Sample], class_names: Sequence[str]) -> str:
    """A hash of the training images' names, boxes and classes: what an exact resume takes for granted."""
    digest = hashlib.sha256(repr(tuple(class_names)).encode())
    for sample in samples:
        digest.update(sample.image.name.encode())
        for array in (sample.boxes, sample.labels, sample.ignore):
            digest.update(array.tobytes())
    return digest.hexdigest()


def _on_cpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, dict):
        return {key: _on_cpu(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_on_cpu(item) for item in value]
    return value
