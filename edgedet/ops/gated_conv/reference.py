"""The gated convolution in NumPy and integers: the reference that the implementations are compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.ops.gated_conv.definition import LARGEST_LOW, GatedConv

Codes = NDArray[np.int64]


def split(gate: GatedConv, codes: NDArray[Any]) -> tuple[Codes, Codes]:
    """The high and the low part of codes of any shape, see `definition`."""
    codes = codes.astype(np.int64)
    high = np.minimum(np.rint(codes / gate.step).astype(np.int64) * gate.step, gate.highest_high)
    return high, np.minimum(codes - high, LARGEST_LOW)


def gated_conv(
    gate: GatedConv,
    codes: NDArray[Any],
    weights: NDArray[Any],
    thresholds: NDArray[Any],
    signs: NDArray[Any],
    *,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
) -> tuple[Codes, NDArray[np.bool_]]:
    """The result and where the gate is open, both `[B, O, H', W']`.

    Args:
        gate: how codes are split and gates decided.
        codes: `[B, C, H, W]`, integers.
        weights: `[O, C / groups, kh, kw]`, integers.
        thresholds: `[O]`, real, also infinite.
        signs: `[O]`, 1 or -1, or 0 for never.
        stride, padding, groups: of the convolution; padding is with zeros.
    """
    high, low = split(gate, codes)
    predicted = _conv(high, weights, stride, padding, groups)
    wanted = signs[:, None, None] * (predicted - thresholds[:, None, None]) > 0
    is_open = np.broadcast_to(_spread(gate, wanted), predicted.shape)
    return predicted + np.where(is_open, _conv(low, weights, stride, padding, groups), 0), is_open


def folded(thresholds: NDArray[Any], factors: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Thresholds and signs `[O]` for weights that a normalisation was folded into, from those before, of sign 1.

    Args:
        thresholds: `[O]`.
        factors: `[O]`, what the normalisation multiplies each channel by; none is 0, which would leave no prediction.
    """
    return thresholds * factors, np.where(factors < 0, -1, 1)


def _spread(gate: GatedConv, wanted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    if gate.granularity == "element":
        return wanted
    opened: NDArray[np.bool_] = np.array(wanted.any(axis=1, keepdims=True))
    if gate.granularity == "tile":
        for top in range(0, opened.shape[2], gate.tile):
            for left in range(0, opened.shape[3], gate.tile):
                tile = opened[:, :, top : top + gate.tile, left : left + gate.tile]
                tile[:] = tile.any(axis=(2, 3), keepdims=True)
    return opened


def _conv(codes: Codes, weights: NDArray[Any], stride: int, padding: int, groups: int) -> Codes:
    padded = np.pad(codes, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weights.shape[2:], axis=(2, 3))
    windows = windows[:, :, ::stride, ::stride]
    parts = zip(np.split(windows, groups, axis=1), np.split(weights.astype(np.int64), groups), strict=True)
    sums: Codes = np.concatenate([np.einsum("bchwij,ocij->bohw", part, kernel) for part, kernel in parts], axis=1)
    return sums
