"""Gated convolutions for the kernels' tests, and what they must give, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgedet.ops.gated_conv.cuda import GatedLayer
from edgedet.ops.gated_conv.definition import GatedConv
from edgedet.ops.gated_conv.reference import gated_conv

CODES = [(-128, 127, 4), (0, 255, 4), (-100, 90, 3), (0, 63, 2), (0, 255, 1), (-32768, 32639, 8)]
"""Lowest, highest, low bits."""


def units(layer: GatedLayer) -> NDArray[np.float64]:
    """`[O]`: the result of a code of 1 and a weight of 1."""
    return np.float64(np.float32(layer.x_scale)) * layer.weight_scale.astype(np.float64)


def expected(layer: GatedLayer, codes: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Of codes `[B, C, H, W]`: the reference's sums, rounded as the kernels round; and where gates are open.

    The sums of both parts are those of gates that are closed, and open, everywhere. Strides and pads are the same all
    around.
    """
    convolution = {"stride": layer.strides[0], "padding": layer.pads[0], "groups": layer.groups}
    unit = units(layer)
    thresholds = layer.thresholds.astype(np.float64) / unit
    _, is_open = gated_conv(layer.gate, codes, layer.weights, thresholds, layer.signs, **convolution)
    closed, everything = (
        gated_conv(layer.gate, codes, layer.weights, np.full_like(unit, end), np.ones_like(unit), **convolution)[0]
        for end in (np.inf, -np.inf)
    )
    low = unit.astype(np.float32)
    high = low * np.float32(layer.gate.step)
    predicted = (closed // layer.gate.step).astype(np.float32) * high[:, None, None]
    update = (everything - closed).astype(np.float32) * low[:, None, None]
    bias = layer.bias[:, None, None]
    return np.where(is_open, predicted + update + bias, predicted + bias), is_open


@st.composite
def drawn_layers(draw: st.DrawFn) -> tuple[GatedLayer, NDArray[np.int64]]:
    """Any shape, with a share of thresholds that open everywhere or nowhere, and the largest weights; and codes."""
    lowest, highest, low_bits = draw(st.sampled_from(CODES))
    granularity = draw(st.sampled_from(["element", "pixel", "tile"]))
    gate = GatedConv(low_bits, lowest, highest, granularity, draw(st.sampled_from([1, 2, 3, 4, 5, 8, 40])))
    groups, side = draw(st.sampled_from([1, 1, 2, 3])), draw(st.sampled_from([1, 1, 2, 3]))
    padding, stride = draw(st.sampled_from([0, 0, 1, 2])), draw(st.sampled_from([1, 1, 2, 3]))
    inputs, outputs = draw(st.integers(1, 150 // side**2)), groups * draw(st.integers(1, 140))
    shape = [draw(st.integers(max(side - 2 * padding, 1), 20)) for _ in range(2)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    codes = rng.integers(lowest, highest + 1, (draw(st.integers(1, 2)), inputs * groups, *shape))
    largest = draw(st.sampled_from([1, 64, 127]))
    spread = float(highest - lowest) * largest * np.sqrt(inputs) * side / 6
    middle = draw(st.sampled_from([-2.0, 0.0, 2.0, 4.0])) * spread
    signs = rng.choice([-1, 1], outputs) if draw(st.booleans()) else np.ones(outputs)
    thresholds = signs * rng.normal(middle, spread, outputs)
    if (endless := draw(st.sampled_from([None, None, None, np.inf, -np.inf]))) is not None:
        thresholds = np.full(outputs, endless)
    x_scale = np.float32(draw(st.sampled_from([1.0, 0.125, 0.0173])))
    weight_scale = rng.uniform(0.003, 0.01, outputs).astype(np.float32)
    layer = GatedLayer(
        gate,
        rng.integers(-largest, largest + 1, (outputs, inputs, side, side)).astype(np.int8),
        float(x_scale),
        weight_scale,
        (thresholds * np.float64(x_scale) * weight_scale).astype(np.float32),
        signs.astype(np.float32),
        rng.normal(0, 1, outputs).astype(np.float32),
        (stride, stride),
        (padding, padding, padding, padding),
        groups,
    )
    return layer, codes


def layer_of(gate: GatedConv, outputs: int, inputs: int, thresholds: NDArray[Any] | float, seed: int = 0) -> GatedLayer:
    """A 1x1 convolution whose scales are 1, of a threshold in units of codes times weights for all or each."""
    rng = np.random.default_rng(seed)
    ones = np.ones(outputs, np.float32)
    weights = rng.integers(-127, 128, (outputs, inputs, 1, 1)).astype(np.int8)
    return GatedLayer(gate, weights, 1.0, ones, (ones * thresholds).astype(np.float32), ones, 0 * ones)
