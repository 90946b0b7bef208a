"""Losses of class logits, one number for each, and the smoothing of labels."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from edgedet.losses.focal import focal_loss, quality_focal_loss, varifocal_loss


def binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """`-(y * ln(p) + (1 - y) * ln(1 - p))` with `p = sigmoid(x)`, elementwise.

    Args:
        logits: x, any shape.
        targets: y in 0..1, of the same shape.
    """
    return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def smooth_labels(onehot: Tensor, smoothing: float) -> Tensor:
    """`y * (1 - e) + e / K`, which keeps the sum of each row at 1 (Szegedy et al., CVPR 2016, section 7).

    Args:
        onehot: y, `[..., K]` floating point, 1 at the label's class, 0 elsewhere.
        smoothing: e in 0..1; 0 changes nothing.
    """
    return onehot * (1 - smoothing) + smoothing / onehot.shape[-1]


CLASSIFICATION_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bce": binary_cross_entropy,
    "focal": focal_loss,
    "qfl": quality_focal_loss,
    "vfl": varifocal_loss,
}
"""By name; of logits and targets: of `qfl` and `vfl` how well the box fits, of the others the label."""
