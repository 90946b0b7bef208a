"""The gated convolution in PyTorch: the same numbers as floats, with the gradients that precision gating is trained by.

Zhang et al. (ICLR 2020), section 3.2, and the released code of the paper, where it says more.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from edgedet.ops.gated_conv.definition import LARGEST_LOW, GatedConv

ALPHA = 5.0
"""Steepness of the sigmoid that the gate has the gradient of (released code)."""


def split(gate: GatedConv, codes: Tensor) -> tuple[Tensor, Tensor]:
    """The high and the low part of float codes of any shape, see `definition`.

    The gradient of the high part is that of the codes, so the low part passes none: what lies below it trains the
    weights alone, as in the released code.
    """
    high = (codes / gate.step).round().mul(gate.step).clamp(max=gate.highest_high)
    return codes + (high - codes).detach(), (codes - high).clamp(max=LARGEST_LOW).detach()


def gated_conv(
    gate: GatedConv,
    codes: Tensor,
    weights: Tensor,
    thresholds: Tensor,
    signs: Tensor,
    *,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
    sparse: bool = True,
) -> tuple[Tensor, Tensor]:
    """The result `[B, O, H', W']`, and where the gate is open, 1 or 0, of the same or a broadcastable shape.

    The gate's gradient is that of `sigmoid(5 * sign * (p - threshold))`, of the largest of a pixel or a tile; it
    reaches the thresholds and, through the prediction, weights and codes. Of whole codes and weights the result is
    exact in float32 as long as no sum exceeds 2^24.

    Args:
        gate: how codes are split and gates decided.
        codes: `[B, C, H, W]`, whole numbers as floats.
        weights: `[O, C / groups, kh, kw]`.
        thresholds: `[O]`, in units of the prediction.
        signs: `[O]`, 1 or -1.
        stride, padding, groups: of the convolution.
        sparse: gates that are closed pass no gradient (the paper's sparse back-propagation).
    """
    high, low = split(gate, codes)
    predicted = functional.conv2d(high, weights, None, stride, padding, 1, groups)
    along = [-1, 1, 1]
    wish = _strongest(gate, signs.view(along) * (predicted - thresholds.view(along)))
    is_open = (wish > 0).to(predicted.dtype)
    soft = torch.sigmoid(ALPHA * wish)
    slope = soft * is_open if sparse else soft
    opened = is_open + (slope - slope.detach())
    return predicted + opened * functional.conv2d(low, weights, None, stride, padding, 1, groups), is_open


def _strongest(gate: GatedConv, wishes: Tensor) -> Tensor:
    """The largest wish of those that decide together, at each of them."""
    if gate.granularity == "element":
        return wishes
    strongest = wishes.amax(dim=1, keepdim=True)
    if gate.granularity == "tile":
        height, width = strongest.shape[2:]
        tiles = functional.max_pool2d(strongest, gate.tile, ceil_mode=True)
        strongest = tiles.repeat_interleave(gate.tile, dim=2).repeat_interleave(gate.tile, dim=3)
        strongest = strongest[..., :height, :width]
    return strongest
