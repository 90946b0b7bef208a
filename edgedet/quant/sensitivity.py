"""Which edges cost the most when they are rounded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from edgedet.models.detector import Detector
from edgedet.models.quantized.detector import traced
from edgedet.models.quantized.edges import Edge, find_edges, readers_of
from edgedet.models.quantized.fake_quantize import FakeQuantize, QuantizedConv2d
from edgedet.progress import Track, no_progress


@dataclass(frozen=True)
class EdgeError:
    """What rounding one edge alone, and the weights that read it, does to the logits.

    Attributes:
        edge: its name.
        error: root mean square of the logits' change, as a share of their own.
    """

    edge: str
    error: float


@torch.no_grad()
def edge_errors(
    detector: Detector, ranges: Mapping[str, float], images: Iterable[Tensor], track: Track = no_progress
) -> tuple[EdgeError, ...]:
    """The error of every edge on its own, the largest first.

    Args:
        detector: float, in eval mode.
        ranges: where each edge's grid ends.
        images: input tensors `[B, 3, H, W]`.
        track: watches the edges.
    """
    network = traced(detector)
    images = list(images)
    exact = [network(one) for one in images]
    size = mean_square(exact)
    found = []
    for edge in track(find_edges(network), "rounding one edge at a time"):
        rounding = _RoundingOne(network, edge, ranges[edge.name])
        changes = [rounding.run(one) - logits for one, logits in zip(images, exact, strict=True)]
        found.append(EdgeError(edge.name, (mean_square(changes) / size) ** 0.5))
    return tuple(sorted(found, key=lambda one: -one.error))


def mean_square(tensors: list[Tensor]) -> float:
    """Over the values of tensors of one size."""
    return float(sum(tensor.double().square().mean() for tensor in tensors) / len(tensors))


class _RoundingOne(fx.Interpreter):
    """Runs a traced network with one edge, and the weights of the convolutions that read it, rounded."""

    def __init__(self, network: fx.GraphModule, edge: Edge, end: float) -> None:
        super().__init__(network)
        self._sources = edge.sources
        self._quantizer = FakeQuantize()
        self._quantizer.set_range(torch.tensor(end))
        self._rounded: dict[str, nn.Module] = {
            node.name: QuantizedConv2d(conv) for node, conv in readers_of(network, {*edge.sources, *edge.carriers})
        }

    def run_node(self, n: fx.Node) -> Any:
        if n.name in self._rounded:
            (x,) = self.fetch_args_kwargs_from_env(n)[0]
            return self._rounded[n.name](x)
        result = super().run_node(n)
        return self._quantizer(result) if n.name in self._sources else result
