"""Which negative points of an image are learned from, where they are not all: those with the highest loss."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def hard_negatives(loss: Tensor, positive: Tensor, ratio: float = 3.0, minimum: int = 3) -> Tensor:
    """Hard negative mining (SSD, Liu et al., ECCV 2016, section 2.2): `ratio` negatives a positive, rounded down.

    From an image without a positive the paper's rule learns nothing, although it has false alarms to unlearn. Here it
    gives `minimum` negatives, by default as many as one positive does.

    Args:
        loss: `[N]`, the classification loss of each point of one image.
        positive: `[N]` bool, never among the result.
        ratio: at least 0.
        minimum: how many negatives there are at least, if the image has them.

    Returns:
        `[N]` bool.
    """
    return top_k_negatives(loss, positive, (ratio * positive.sum()).long().clamp(min=minimum))


@torch.no_grad()
def top_k_negatives(loss: Tensor, positive: Tensor, k: int | Tensor) -> Tensor:
    """The `k` negatives with the highest loss, all of them where there are fewer; of equal ones the first.

    Online hard example mining (Shrivastava et al., CVPR 2016) for points instead of regions, without the suppression of
    neighbours.

    Args:
        loss: `[N]`, the classification loss of each point of one image.
        positive: `[N]` bool, never among the result.
        k: at least 0.

    Returns:
        `[N]` bool.
    """
    order = loss.masked_fill(positive, -torch.inf).argsort(descending=True, stable=True)
    # The rank of each point is the inverse of the order.
    return (order.argsort() < k) & ~positive
