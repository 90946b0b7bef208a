"""The loss of a detector, whichever head it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from edgedet.errors import EdgedetError
from edgedet.losses.config import DEFAULT, LossConfig
from edgedet.losses.fcos import fcos_loss
from edgedet.losses.gfl import gfl_loss
from edgedet.losses.processes import Mean
from edgedet.losses.ssd import ssd_loss
from edgedet.losses.targets import Targets
from edgedet.losses.yolo import yolo_loss

_LOSSES_OF_ONE_RECIPE = {"fcos": fcos_loss, "ssdlite": ssd_loss, "yolo": yolo_loss}


def require_loss_of(head: str, config: LossConfig) -> None:
    """Refuses settings that a head's loss does not have: those of all heads but GFL's are fixed.

    Of GFL's, smoothed labels do not go with losses that learn no label.
    """
    if head != "gfl" and config != DEFAULT:
        changed = ", ".join(
            f"loss.{name}" for name in LossConfig.model_fields if getattr(config, name) != getattr(DEFAULT, name)
        )
        fix = f"leave {changed} out, or use network.head=gfl"
        raise EdgedetError(f"the loss of the head {head} has no settings: {changed}", where="loss", fix=fix)
    if config.label_smoothing > 0 and config.classification in ("qfl", "vfl"):
        what = f"does not go with loss.classification={config.classification}, whose target is how well the box fits"
        fix = "set loss.classification=focal or bce, or leave label_smoothing at 0"
        raise EdgedetError(what, where="loss.label_smoothing", fix=fix)


def require_classes_to_smooth(config: LossConfig, num_classes: int) -> None:
    """Refuses smoothed labels where there is one class: what is spread over all classes stays where it was."""
    if config.label_smoothing > 0 and num_classes == 1:
        what = "changes nothing in a dataset of one class: what is taken from the label is given back to it"
        raise EdgedetError(what, where="loss.label_smoothing", fix="leave label_smoothing at 0")


def detection_loss(
    head: str,
    raw: Tensor,
    points: Tensor,
    strides: Tensor,
    targets: Sequence[Targets],
    num_classes: int,
    config: LossConfig,
    *,
    mean: Mean,
) -> dict[str, Tensor]:
    """The weighted parts of a batch's loss, scalars; their sum is what is minimised.

    Args:
        head: name of the head, of `edgedet.models.zoo.list_heads()`.
        raw: `[B, N, K]`, the head's raw outputs.
        points, strides: `[N, 2]` and `[N]`, see `edgedet.models.heads.base.Head.points`.
        targets: B images' objects.
        num_classes: C.
        config: see `require_loss_of`.
        mean: of a tensor over the processes that share the batch.
    """
    if head == "gfl":
        return gfl_loss(raw, points, strides, targets, config, mean=mean)
    return _LOSSES_OF_ONE_RECIPE[head](raw, points, strides, targets, num_classes, mean=mean)


def total(parts: Mapping[str, Tensor]) -> Tensor:
    """What is minimised: the sum of the parts, a scalar."""
    return torch.stack(list(parts.values())).sum()
