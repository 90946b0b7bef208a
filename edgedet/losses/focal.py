"""Focal loss and what came of it: losses that hardly count what a network gets right already."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """`-alpha_t * (1 - p_t)^gamma * ln(p_t)` (Focal Loss, Lin et al., ICCV 2017, equation 5), elementwise.

    Between 0 and 1 a target weighs what the equation has for either: its loss is the cross entropy, times the distance
    `y * (1 - p) + (1 - y) * p`, which is `1 - p_t` at both ends, to the power of gamma.

    Args:
        logits: x, any shape; `p = sigmoid(x)`.
        targets: y in 0..1, of the same shape: 1 at the label's class, 0 elsewhere, or smoothed labels.
        alpha: weight of targets of 1; those of 0 weigh `1 - alpha`.
        gamma: 0, or at least 1: between them the gradient has no bound where the score is right.
    """
    distance = torch.lerp(logits.sigmoid(), (-logits).sigmoid(), targets)
    weights = alpha * targets + (1 - alpha) * (1 - targets)
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return weights * distance.pow(gamma) * cross_entropy


def quality_focal_loss(logits: Tensor, quality: Tensor) -> Tensor:
    """`|y - sigmoid(x)|^2 * BCE(x, y)`, elementwise.

    Generalized Focal Loss (Li et al., NeurIPS 2020), equation 3, with the exponent that it found best.

    Args:
        logits: x, any shape.
        quality: y in 0..1, of the same shape: the IoU at the label's class, 0 elsewhere.
    """
    modulation = (quality - logits.sigmoid()).square()
    return modulation * functional.binary_cross_entropy_with_logits(logits, quality, reduction="none")


def varifocal_loss(logits: Tensor, quality: Tensor, alpha: float = 0.75, gamma: float = 2.0) -> Tensor:
    """`q * BCE(x, q)` where `q > 0`, `-alpha * p^gamma * ln(1 - p)` elsewhere, elementwise.

    VarifocalNet (Zhang et al., CVPR 2021), equation 2: negatives alone are weighted down, positives by their quality.

    Args:
        logits: x, any shape; `p = sigmoid(x)`.
        quality: q in 0..1, of the same shape: the IoU at the label's class, 0 elsewhere.
        alpha: weight of the negatives.
        gamma: 0, or at least 1, see `focal_loss`.
    """
    weights = torch.where(quality > 0, quality, alpha * logits.sigmoid().pow(gamma))
    return weights * functional.binary_cross_entropy_with_logits(logits, quality, reduction="none")


def distribution_focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy of the two bins around `target`, weighted by nearness.

    Generalized Focal Loss (Li et al., NeurIPS 2020), equation 6.

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
