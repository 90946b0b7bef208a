"""The gated convolution in PyTorch: the same numbers as floats, with the gradients that precision gating is trained by.

Zhang et al. (ICLR 2020), section 3.2, and the released code of the paper, where it says more.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from edgedet.ops.gated_conv.definition import LARGEST_LOW, GatedConv

ALPHA = 5.0
"""Steepness of the sigmoid that the gate has the gradient of (released code)."""


def split(gate: GatedConv, x: Tensor, step: Tensor | float) -> tuple[Tensor, Tensor]:
    """The high and the low part of values `x = step * codes` of any shape, see `definition`.

    The gradient of the high part is that of the values, so the low part passes none: what lies below it trains the
    weights alone, as in the released code.
    """
    with torch.no_grad():
        codes = (x / step).round_()
        high = (codes / gate.step).round_().mul_(gate.step).clamp_(max=gate.highest_high)
        low = (codes - high).clamp_(max=LARGEST_LOW).mul_(step)
        high.mul_(step)
    return high + (x - x.detach()), low


def gated_conv(
    gate: GatedConv,
    x: Tensor,
    step: Tensor | float,
    weights: Tensor,
    thresholds: Tensor,
    signs: Tensor,
    *,
    units: Tensor | float = 1.0,
    stride: Any = 1,
    padding: Any = 0,
    groups: int = 1,
    sparse: bool = True,
) -> tuple[Tensor, Tensor]:
    """The result `[B, O, H', W']`, and where the gate is open, 1 or 0, of the same or a broadcastable shape.

    The gate's gradient is that of `sigmoid(5 * sign * (p - threshold) / unit)`, of the largest of a pixel or a tile; it
    reaches the thresholds and, through the prediction, weights and codes. Of whole codes and weights the result is
    exact in float32 as long as no sum exceeds 2^24.

    Args:
        gate: how codes are split and gates decided.
        x: `[B, C, H, W]`, codes times the step.
        step: of the codes' grid, `[]`.
        weights: `[O, C / groups, kh, kw]`.
        thresholds: `[O]`, in the prediction's own units.
        signs: `[O]`, 1 or -1, or 0 for never.
        units: `[O]`, what a difference from the threshold is measured in: the paper's is 1.
        stride, padding, groups: of the convolution.
        sparse: gates that are closed pass no gradient (the paper's sparse back-propagation).
    """
    high, low = split(gate, x, step)
    predicted = functional.conv2d(high, weights, None, stride, padding, 1, groups)
    wish = strongest(gate, wishes(predicted, thresholds, signs, units))
    is_open = (wish > 0).to(predicted.dtype)
    opened = is_open
    if torch.is_grad_enabled():
        soft = torch.sigmoid(ALPHA * wish)
        slope = soft * is_open if sparse else soft
        opened = is_open + (slope - slope.detach())
    return predicted + opened * functional.conv2d(low, weights, None, stride, padding, 1, groups), is_open


def wishes(predicted: Tensor, thresholds: Tensor, signs: Tensor, units: Tensor | float) -> Tensor:
    """How much each output element wants the update, in units: `sign * (p - threshold) / unit`.

    Args:
        predicted: `[B, O, H, W]`.
        thresholds, signs, units: `[O]`, see `gated_conv`.
    """
    return (predicted - thresholds.view(-1, 1, 1)) * (signs / units).view(-1, 1, 1)


def strongest(gate: GatedConv, wishes: Tensor) -> Tensor:
    """The largest wish of those that decide together, at each of them: `[B, O, H, W]`, or `[B, 1, H, W]`."""
    if gate.granularity == "element":
        return wishes
    largest = wishes.amax(dim=1, keepdim=True)
    if gate.granularity == "tile":
        height, width = largest.shape[2:]
        tiles = functional.max_pool2d(largest, gate.tile, ceil_mode=True)
        largest = tiles.repeat_interleave(gate.tile, dim=2).repeat_interleave(gate.tile, dim=3)
        largest = largest[..., :height, :width]
    return largest
