"""The values that a detector's edges take on calibration images, and the INT8 detector made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from edgedet.errors import CheckFailedError
from edgedet.models.detector import Detector
from edgedet.models.quantized.detector import QuantizedDetector, traced
from edgedet.models.quantized.edges import find_edges, readers_in
from edgedet.models.quantized.gated import gated_layers
from edgedet.models.quantized.provenance import preprocess_sha256, weights_sha256
from edgedet.models.quantized.recipe import Calibration, Recipe
from edgedet.ops.gated_conv.definition import GatedConv
from edgedet.quant.ranges import BINS, Histogram, ends_to_try, range_of, squared_errors
from edgedet.spec import Preprocess

DEFAULT_RECIPE = Recipe()


def quantize(
    detector: Detector,
    histograms: Mapping[str, Histogram],
    *,
    method: str,
    recipe: Recipe = DEFAULT_RECIPE,
    open_share: float = 1.0,
) -> QuantizedDetector:
    """The INT8 detector of a float one, in eval mode.

    Args:
        detector: float, in eval mode.
        histograms: of every edge, see `observe`.
        method: one of `edgedet.quant.ranges.METHODS`.
        recipe: what stays float, and what is kept with the checkpoint.
        open_share: share of the results of gated convolutions that will be updated, 0 to 1.
    """
    quantized = QuantizedDetector(detector, recipe)
    edges = quantized.quantizers()
    for name, quantizer in edges.items():
        # Of an edge that is always 0 any grid will do, but a hair's breadth leaves its readers' biases no room.
        quantizer.set_range(torch.tensor(range_of(histograms[name], method) or 1.0))
    grids, whole = quantized.gate_grids(), _whole_readers(detector, quantized)
    for layer, conv in gated_layers(quantized.network).items():
        name = quantized.gated_inputs[layer]
        # Every reader of an edge counts alike, and those without gates have all bits.
        share = open_share + (1 - open_share) * (whole[name] if grids[layer] is edges.get(name) else 0.0)
        end = gated_range(histograms[name], method, conv.definition, share)
        grids[layer].set_range(torch.tensor(end or 1.0))
    return quantized.eval()


def _whole_readers(detector: Detector, quantized: QuantizedDetector) -> dict[str, float]:
    """The share of an edge's readers that have no gate, by the edge that a gated convolution reads."""
    network = traced(detector)
    found = {}
    for edge in find_edges(network):
        if edge.name in quantized.gated_inputs.values():
            readers = readers_in(network, edge)
            found[edge.name] = len(readers - set(quantized.gated_inputs)) / len(readers)
    return found


def gated_range(histogram: Histogram, method: str, gate: GatedConv, open_share: float) -> float:
    """Where the grid of a gated convolution's input ends; 0 where it is always 0.

    For the least squared error (`mse`) the input counts with all bits for the share of results that is updated, and
    with the high ones for the others: these have few steps, which an end that nothing is beyond would waste. Other
    methods of `edgedet.quant.ranges.METHODS` do not depend on it.
    """
    if method != "mse" or histogram.largest == 0:
        return range_of(histogram, method)
    ends = ends_to_try(histogram)
    of_all_bits = squared_errors(histogram, ends, gate.highest)
    of_high_bits = squared_errors(histogram, ends * (gate.highest_high / gate.highest), gate.highest // gate.step)
    return float(ends[(open_share * of_all_bits + (1 - open_share) * of_high_bits).argmin()])


def calibration_record(
    detector: Detector, preprocess: Preprocess, *, method: str, images: int, images_sha256: str
) -> Calibration:
    """What a calibrated checkpoint says of its grids."""
    return Calibration(
        method=method,
        images=images,
        images_sha256=images_sha256,
        weights_sha256=weights_sha256(traced(detector).state_dict()),
        preprocess_sha256=preprocess_sha256(preprocess),
    )


def fit_to_noise(detector: Detector, preprocess: Preprocess) -> QuantizedDetector:
    """An INT8 detector whose grids fit random images: for latency only, where the weights are random too."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, preprocess.height, preprocess.width, generator=generator)
    return quantize(detector, observe(detector, lambda: [(images, "noise")]), method="max")


@torch.no_grad()
def observe(detector: Detector, batches: Callable[[], Iterable[tuple[Tensor, str]]]) -> dict[str, Histogram]:
    """A histogram of the absolute values of every edge of a float detector in eval mode.

    Args:
        detector: float, in eval mode.
        batches: gives the input tensors `[B, 3, H, W]` with a name for errors; called twice, for the ranges and for
            the counts.

    Raises:
        CheckFailedError: an edge takes a value that is not finite.
    """
    network = traced(detector)
    edge_of = {source: edge.name for edge in find_edges(network) for source in edge.sources}
    largest: dict[str, float] = dict.fromkeys(edge_of.values(), 0.0)
    counts = {name: np.zeros(BINS) for name in largest}

    def widen(edge: str, values: Tensor, where: str) -> None:
        size = float(values.abs().max())
        if not np.isfinite(size):
            raise CheckFailedError(
                f"the values of {edge} are not finite", where=where, fix="train again, or leave the image out"
            )
        largest[edge] = max(largest[edge], size)

    def count(edge: str, values: Tensor, where: str) -> None:
        if largest[edge] > 0:
            counts[edge] += torch.histc(values.abs().float(), BINS, 0, largest[edge]).double().cpu().numpy()

    for see in (widen, count):
        for images, where in batches():
            _Watching(network, edge_of, see, where).run(images)
    return {name: Histogram(counts[name], largest[name]) for name in largest}


class _Watching(fx.Interpreter):
    """Runs a traced network and shows what the sources of its edges give."""

    def __init__(
        self,
        network: fx.GraphModule,
        edge_of: Mapping[str, str],
        see: Callable[[str, Tensor, str], None],
        where: str,
    ) -> None:
        super().__init__(network)
        self._edge_of = edge_of
        self._see = see
        self._where = where

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n.name in self._edge_of:
            self._see(self._edge_of[n.name], result, self._where)
        return result
