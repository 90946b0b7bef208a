"""What the gates of a detector do on images: how often they open, what that saves, and what it is worth.

Savings are counted in bits that are multiplied, which is no time: a speed-up is measured (`edgedet bench`), never
derived.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgedet.data.find import read_dataset, split_of
from edgedet.errors import EdgedetError
from edgedet.evaluate.run import evaluate
from edgedet.models.checkpoint import load_checkpoint
from edgedet.models.quantized.detector import QuantizedDetector
from edgedet.models.quantized.gated import GatedQuantizedConv2d, gated_layers
from edgedet.ops.gated_conv.definition import average_bits
from edgedet.progress import Track, no_progress
from edgedet.quant.gate_variants import GateUse, variants
from edgedet.quant.gating import before_gates, decisions
from edgedet.quant.images import tensors
from edgedet.quant.ptq import runtime_of
from edgedet.spec import Spec

WEIGHT_BITS = 8
TILE = 8
"""Side of the tiles that opened gates are counted in, whatever they decide for."""

COMPARISON_IMAGES = 8
"""On which what gates are compared with is chosen: thresholds, layers, the ends of grids."""


@dataclass(frozen=True)
class LayerGates:
    """What the gate of a convolution does.

    Attributes:
        layer: its module path.
        macs: multiply-accumulates for an image.
        open: share of the results that are updated, over all images; 0 to 1, as are all shares.
        open_p5, open_p50, open_p95: percentiles of that over the images.
        open_pixels: share of the positions with any update.
        open_tiles: share of the tiles of 8 x 8 positions with any update: what a kernel that skips tiles computes.
        bits: of an activation that are multiplied, on average.
    """

    layer: str
    macs: int
    open: float
    open_p5: float
    open_p50: float
    open_p95: float
    open_pixels: float
    open_tiles: float
    bits: float

    @property
    def use(self) -> GateUse:
        """Of it, what others are compared at."""
        return GateUse(self.layer, self.macs, self.open)


@dataclass(frozen=True)
class GateReport:
    """A gated detector beside the same weights without its gates.

    Attributes:
        layers: in the order of computation.
        bits: of the activations of all gated convolutions, weighted by their multiply-accumulates.
        bit_operations: multiply-accumulates times the bits of weights and activations, of the gated convolutions.
        tile_bit_operations: the same, were every position of a tile with an update updated.
        high_bit_operations, full_bit_operations: the same without any update, and with all.
        accuracy: mAP50-95 of the detector (`gated`), and by the names of `edgedet.quant.gate_variants.variants`.
        uniform_bits: of the variant `uniform`.
        images: how many the figures are of.
        split: which they are.
    """

    layers: tuple[LayerGates, ...]
    bits: float
    bit_operations: float
    tile_bit_operations: float
    high_bit_operations: float
    full_bit_operations: float
    accuracy: dict[str, float]
    uniform_bits: int
    images: int
    split: str

    def to_dict(self) -> dict[str, Any]:
        """A plain record, ready for JSON."""
        return asdict(self)


def report_gates(
    model: Path, data: Path, *, split: str = "val", limit: int | None = None, track: Track = no_progress
) -> GateReport:
    """Runs a gated checkpoint over a split, and the same weights with other gates.

    Args:
        model: a checkpoint trained with `--pg`.
        data: the dataset.
        split: of the dataset.
        limit: at most so many images, spread over the split by every so many-th; None takes all.
        track: watches the long loops.

    Raises:
        EdgedetError: the checkpoint has no gates, or the images do not do.
    """
    detector, spec = load_gated(model)
    dataset = read_dataset(data)
    samples = split_of(dataset, split)
    samples = samples if limit is None else samples[:: max(1, -(-len(samples) // limit))]

    def judge(variant: QuantizedDetector) -> float:
        return evaluate(runtime_of(variant, spec), samples, dataset.class_names, batch=1, track=track).metrics.map

    accuracy = {}
    with watched_gates(detector) as layers_seen:
        accuracy["gated"] = judge(detector)
    layers = layers_seen()
    some = torch.cat([tensor for tensor, _ in tensors(samples[:COMPARISON_IMAGES], spec.preprocess, no_progress)])
    uses = [one.use for one in layers]
    bits = math.ceil(sum(one.macs * one.bits for one in layers) / sum(one.macs for one in layers))
    for name, variant in variants(detector, uses, bits, some).items():
        accuracy[name] = judge(variant)
    return _report(detector, layers, accuracy, bits, len(samples), split)


@contextmanager
def watched_gates(detector: QuantizedDetector) -> Iterator[Callable[[], tuple[LayerGates, ...]]]:
    """Watches what the gates of a detector do; gives what tells it, of the images that were detected in meanwhile.

    Args:
        detector: with gates, in eval mode; it is run on one image at a time.
    """
    seen: dict[str, list[Tensor]] = {name: [] for name in gated_layers(detector.network)}
    macs: dict[str, int] = {}

    def see(name: str, conv: GatedQuantizedConv2d, x: Tensor, step: Tensor) -> None:
        is_open = decisions(conv, x, step)
        pixels = is_open.amax(dim=1, keepdim=True)
        tiles = nn.functional.max_pool2d(pixels, TILE, ceil_mode=True)
        seen[name].append(torch.stack([one.mean() for one in (is_open, pixels, tiles)]))
        macs[name] = conv.weight.numel() * pixels[0].numel()

    def found() -> tuple[LayerGates, ...]:
        convs = gated_layers(detector.network)
        return tuple(_layer(name, conv, seen[name], macs[name]) for name, conv in convs.items())

    with before_gates(detector.network, see):
        yield found


def load_gated(model: Path) -> tuple[QuantizedDetector, Spec]:
    """The detector of a checkpoint with gates, in eval mode.

    Raises:
        EdgedetError: it has none.
    """
    checkpoint = load_checkpoint(model)
    if not isinstance(checkpoint.detector, QuantizedDetector) or checkpoint.detector.recipe.gating is None:
        raise EdgedetError("the checkpoint has no gated convolutions", where=model, fix="train one with --pg")
    return checkpoint.detector, checkpoint.spec


def _layer(name: str, conv: GatedQuantizedConv2d, shares: Sequence[Tensor], macs: int) -> LayerGates:
    found = torch.stack(list(shares)).double().numpy()
    results, pixels, tiles = found.mean(axis=0).tolist()
    p5, p50, p95 = np.percentile(found[:, 0], [5, 50, 95]).tolist()
    return LayerGates(name, macs, results, p5, p50, p95, pixels, tiles, bits=average_bits(conv.definition, results))


def _report(
    detector: QuantizedDetector,
    layers: tuple[LayerGates, ...],
    accuracy: dict[str, float],
    uniform_bits: int,
    images: int,
    split: str,
) -> GateReport:
    convs = gated_layers(detector.network)

    def operations(share: Callable[[LayerGates], float]) -> float:
        return sum(one.macs * WEIGHT_BITS * average_bits(convs[one.layer].definition, share(one)) for one in layers)

    macs = sum(one.macs for one in layers)
    total = operations(lambda one: one.open)
    return GateReport(
        layers=layers,
        bits=total / WEIGHT_BITS / macs,
        bit_operations=total,
        tile_bit_operations=operations(lambda one: one.open_tiles),
        high_bit_operations=operations(lambda one: 0.0),
        full_bit_operations=operations(lambda one: 1.0),
        accuracy=accuracy,
        uniform_bits=uniform_bits,
        images=images,
        split=split,
    )


def gate_map(detector: QuantizedDetector, image: Tensor) -> Tensor:
    """Where the gates open on an image, `[H, W]`, 0 to 1: the mean over layers of the share of channels there.

    Args:
        detector: with gates, in eval mode.
        image: `[1, 3, H, W]`.
    """
    maps: list[Tensor] = []

    def see(_: str, conv: GatedQuantizedConv2d, x: Tensor, step: Tensor) -> None:
        share = decisions(conv, x, step).mean(dim=1, keepdim=True)
        maps.append(nn.functional.interpolate(share, size=image.shape[2:], mode="nearest"))

    with torch.no_grad(), before_gates(detector.network, see):
        detector(image)
    return torch.cat(maps).mean(dim=(0, 1))
