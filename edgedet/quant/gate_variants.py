"""The weights of a gated detector with other gates, or none: what gates are compared with at as many bits."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from edgedet.models.quantized.detector import QuantizedDetector
from edgedet.models.quantized.fake_quantize import FakeQuantize
from edgedet.models.quantized.gated import GatedQuantizedConv2d, gated_layers
from edgedet.ops.gated_conv import pytorch
from edgedet.ops.gated_conv.definition import GatedConv
from edgedet.quant.gating import FAR, convolved, one_threshold
from edgedet.quant.placement import Candidate, placed
from edgedet.quant.sensitivity import mean_square

ENDS = 40
"""That are tried for a grid, from a part of the largest value to all of it."""

MOST_VALUES = 1 << 16
"""Of a layer that they are tried on."""


class GateUse(NamedTuple):
    """How much of a gated convolution is updated.

    Attributes:
        layer: its module path.
        macs: multiply-accumulates for an image.
        open: share of its results that are updated, 0 to 1.
    """

    layer: str
    macs: int
    open: float


def updated_share(uses: Iterable[GateUse]) -> float:
    """Of the low bits' multiply-accumulates of all layers, those that are made, 0 to 1."""
    updated, macs = zip(*((one.macs * one.open, one.macs) for one in uses), strict=True)
    return sum(updated) / sum(macs)


def variants(
    detector: QuantizedDetector, uses: Sequence[GateUse], bits: int, images: Tensor
) -> dict[str, QuantizedDetector]:
    """Copies of a gated detector, by name.

    `full` has all bits everywhere, and `high` the high ones alone; `random` as many updates of each layer as the
    detector, at random; `one` about as many of all, by one threshold (the paper's fixed threshold); `static` all bits
    in the layers whose high bits alone change the logits most for their multiply-accumulates, at no fewer bits than
    the detector's, and the high ones in the others; `uniform` so many bits everywhere, on grids that end where the
    error is least (PACT learns such ends, in training), and `uniform_all` as many as an open gate has.

    Args:
        detector: in eval mode; left as it is.
        uses: of each gated layer.
        bits: of `uniform`.
        images: `[B, 3, H, W]`, on which threshold, layers and ends are chosen.
    """
    open_share = updated_share(uses)
    full = _with_thresholds(detector, dict.fromkeys((one.layer for one in uses), -FAR))
    one = copy.deepcopy(detector)
    one_threshold(one, images, open_share)
    all_bits = max(_bits(conv.definition) for conv in gated_layers(detector.network).values())
    closed = placed(_errors(full, uses, images), 1 - open_share)
    return {
        "full": full,
        "high": _with_thresholds(detector, dict.fromkeys((one.layer for one in uses), FAR)),
        "random": _random(detector, uses),
        "one": one,
        "static": _with_thresholds(detector, {one.layer: FAR if one.layer in closed else -FAR for one in uses}),
        "uniform": uniform(full, bits, images),
        "uniform_all": uniform(full, all_bits, images),
    }


def _with_thresholds(detector: QuantizedDetector, thresholds: Mapping[str, float]) -> QuantizedDetector:
    made = copy.deepcopy(detector)
    for name, conv in gated_layers(made.network).items():
        conv.gate.rest_(torch.full_like(conv.gate.threshold, thresholds[name]))
    return made


def _random(detector: QuantizedDetector, uses: Sequence[GateUse]) -> QuantizedDetector:
    made = copy.deepcopy(detector)
    convs = gated_layers(made.network)
    for seed, one in enumerate(uses):
        made.network.set_submodule(one.layer, RandomlyGated(convs[one.layer], one.open, seed))
    return made


@torch.no_grad()
def _errors(full: QuantizedDetector, uses: Sequence[GateUse], images: Tensor) -> list[Candidate]:
    """What the high bits of one layer alone do to the logits, where all others have all bits."""
    exact = full(images)
    size = mean_square([exact])
    convs = gated_layers(full.network)
    found = []
    for one in uses:
        threshold = convs[one.layer].gate.threshold
        opened = threshold.clone()
        threshold.fill_(FAR)
        found.append(Candidate(one.layer, one.macs, (mean_square([full(images) - exact]) / size) ** 0.5))
        threshold.copy_(opened)
    return found


@torch.no_grad()
def uniform(full: QuantizedDetector, bits: int, images: Tensor) -> QuantizedDetector:
    """A copy whose gated convolutions have inputs of so many bits everywhere.

    What the gates split ends anew, too, where it is an edge that other layers read with its 8 bits.

    Args:
        full: a gated detector whose gates are all open, in eval mode.
        bits: 2 to 16.
        images: `[B, 3, H, W]`, on which the grids' ends are chosen.
    """
    made = copy.deepcopy(full)
    grids, convs, edges = made.gate_grids(), gated_layers(made.network), made.quantizers().values()
    seen: dict[FakeQuantize, list[Tensor]] = {grid: [] for grid in grids.values()}
    hooks = [grid.register_forward_pre_hook(lambda grid, args: seen[grid].append(_some(args[0]))) for grid in seen]
    made(images)
    for hook in hooks:
        hook.remove()
    fitted: dict[FakeQuantize, FakeQuantize] = {}
    for layer, conv in convs.items():
        grid = grids[layer]
        if grid not in fitted:
            values = torch.cat(seen[grid])
            highest = (1 << bits - 1) - 1 if conv.definition.lowest < 0 else (1 << bits) - 1
            fitted[grid] = fitted_grid(values, highest)
            grid.highest = grid.highest if grid in edges else highest
            grid.scale.copy_(fitted_grid(values, grid.highest).scale)
        made.network.set_submodule(layer, UniformlyRounded(conv, fitted[grid]))
    return made


def _bits(gate: GatedConv) -> int:
    return (gate.highest - gate.lowest).bit_length()


def fitted_grid(x: Tensor, highest: int) -> FakeQuantize:
    """The grid of codes up to `highest` with the least mean squared error on values of any shape."""
    some, largest = _some(x), x.abs().max()
    best, least = FakeQuantize(highest=highest), float("inf")
    for part in range(1, ENDS + 1):
        grid = FakeQuantize(highest=highest)
        grid.set_range(largest * part / ENDS)
        error = float((grid(some) - some).square().mean())
        if error < least:
            best, least = grid, error
    return best


def _some(x: Tensor) -> Tensor:
    """At most `MOST_VALUES` of a tensor's values, spread evenly, and the one of the largest size."""
    values = x.flatten()
    return torch.cat([values[:: -(-values.numel() // MOST_VALUES)], values[values.abs().argmax()][None]])


class UniformlyRounded(nn.Module):
    """A gated convolution without its gate, whose whole input lies on one grid.

    Args:
        conv: the convolution.
        grid: of its input.
    """

    def __init__(self, conv: GatedQuantizedConv2d, grid: FakeQuantize) -> None:
        super().__init__()
        self._conv, self._grid = conv, grid

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        return _with_bias(self._conv, convolved(self._conv, self._grid(x)))


class RandomlyGated(nn.Module):
    """A gated convolution whose gate opens at random, the same way in every run.

    Args:
        conv: the convolution.
        share: of the decisions that are for the update.
        seed: of the choices.
    """

    def __init__(self, conv: GatedQuantizedConv2d, share: float, seed: int) -> None:
        super().__init__()
        self._conv, self._share = conv, share
        self._generator = torch.Generator().manual_seed(seed)

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        conv, definition = self._conv, self._conv.definition
        parts = pytorch.split(definition, x, step)
        high, low = (convolved(conv, part) for part in parts)
        batch, channels, height, width = high.shape
        side = definition.tile if definition.granularity == "tile" else 1
        shape = [batch, channels if definition.granularity == "element" else 1, -(-height // side), -(-width // side)]
        is_open = (torch.rand(shape, generator=self._generator) < self._share).to(high)
        is_open = is_open.repeat_interleave(side, dim=2).repeat_interleave(side, dim=3)[..., :height, :width]
        return _with_bias(conv, high + is_open * low)


def _with_bias(conv: GatedQuantizedConv2d, result: Tensor) -> Tensor:
    return result if conv.bias is None else result + conv.bias.view(-1, 1, 1)
