"""Quality focal loss and distribution focal loss (Generalized Focal Loss, Li et al., NeurIPS 2020)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def quality_focal_loss(logits: Tensor, quality: Tensor) -> Tensor:
    """`|y - sigmoid(x)|^2 * BCE(x, y)` (paper, equation 3, with the exponent that it found best), elementwise.

    Args:
        logits: x, any shape.
        quality: y in 0..1, of the same shape: the IoU at the label's class, 0 elsewhere.
    """
    modulation = (quality - logits.sigmoid()).square()
    return modulation * functional.binary_cross_entropy_with_logits(logits, quality, reduction="none")


def distribution_focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy of the two bins around `target`, weighted by nearness (paper, equation 6).

    Args:
        logits: `[..., bins]`.
        target: `[...]` in bins; clamped just below the last bin, because the bin above it is needed too.
    """
    target = target.clamp(0, logits.shape[-1] - 1 - 0.01)
    lower = target.floor()
    weight_upper = target - lower
    log_probabilities = logits.log_softmax(dim=-1)
    index = lower.long().unsqueeze(-1)
    log_lower = log_probabilities.gather(-1, index).squeeze(-1)
    log_upper = log_probabilities.gather(-1, index + 1).squeeze(-1)
    return -(torch.lerp(log_lower, log_upper, weight_upper))
