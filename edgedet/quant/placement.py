"""Which convolutions are gated: those whose low bits cost the most and matter the least."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from edgedet.models.detector import Detector
from edgedet.models.quantized.detector import traced
from edgedet.models.quantized.edges import can_be_negative, edge_read_by, find_edges, module_of
from edgedet.models.quantized.fake_quantize import FakeQuantize
from edgedet.models.quantized.gated import gate_of
from edgedet.models.quantized.recipe import Gating
from edgedet.ops.gated_conv import pytorch
from edgedet.ops.gated_conv.definition import GatedConv
from edgedet.progress import Track, no_progress
from edgedet.quant.sensitivity import mean_square


@dataclass(frozen=True)
class Candidate:
    """A convolution that can be gated.

    Attributes:
        layer: its module path.
        macs: multiply-accumulates for an image.
        error: what its high bits alone do to the logits: root mean square of their change, as a share of their own.
    """

    layer: str
    macs: int
    error: float


@torch.no_grad()
def candidates(
    detector: Detector,
    end_of: Callable[[str, GatedConv], float],
    images: Iterable[Tensor],
    gating: Gating,
    track: Track = no_progress,
) -> tuple[Candidate, ...]:
    """The convolutions that can be gated, in the order of computation.

    Args:
        detector: float, in eval mode.
        end_of: where the grid of an edge ends, by its name, for a gate.
        images: input tensors `[B, 3, H, W]`.
        gating: its bits and granularity.
        track: watches the convolutions.
    """
    network = traced(detector)
    edges = find_edges(network)
    images = list(images)
    exact = _Counting(network)
    logits = [exact.run(one) for one in images]
    size = mean_square(logits)
    found = []
    for layer in track(gateable(network), "high bits of one convolution at a time"):
        edge = edge_read_by(layer, edges, network)
        gate = gate_of(gating, signed=can_be_negative(edge, network))
        closed = _ClosingOne(network, layer, gate, end_of(edge.name, gate))
        changes = [closed.run(one) - whole for one, whole in zip(images, logits, strict=True)]
        found.append(Candidate(layer, exact.macs[layer], (mean_square(changes) / size) ** 0.5))
    return tuple(found)


def gateable(network: fx.GraphModule) -> tuple[str, ...]:
    """The convolutions of a traced detector that can be gated, in the order of computation.

    Those over all channels are, with a normalisation behind them; not the first, which reads the image, nor those that
    give logits.
    """
    convs = [node for node in network.graph.nodes if isinstance(module_of(node, network), nn.Conv2d)]
    dense = [node for node in convs[1:] if network.get_submodule(str(node.target)).groups == 1]
    normed = [node for node in dense if isinstance(module_of(next(iter(node.users)), network), nn.BatchNorm2d)]
    return tuple(str(node.target) for node in normed)


def placed(found: Sequence[Candidate], share: float) -> tuple[str, ...]:
    """The layers to gate, in the order of computation: of the least error for each multiply-accumulate, as many as have
    the share of all candidates' multiply-accumulates."""
    budget = share * sum(one.macs for one in found)
    chosen = set[str]()
    macs = 0
    for one in sorted(found, key=lambda one: one.error / one.macs):
        if macs + one.macs <= budget:
            chosen.add(one.layer)
            macs += one.macs
    return tuple(one.layer for one in found if one.layer in chosen)


class _Counting(fx.Interpreter):
    """Runs a traced network and counts the multiply-accumulates of its convolutions for one image."""

    def __init__(self, network: fx.GraphModule) -> None:
        super().__init__(network)
        self.macs: dict[str, int] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        conv = module_of(n, self.module)  # type: ignore[arg-type]
        if isinstance(conv, nn.Conv2d):
            self.macs[str(n.target)] = conv.weight[0].numel() * result[0].numel()
        return result


class _ClosingOne(fx.Interpreter):
    """Runs a traced network with one convolution that has the high bits of its input alone."""

    def __init__(self, network: fx.GraphModule, layer: str, gate: GatedConv, end: float) -> None:
        super().__init__(network)
        self._layer, self._gate = layer, gate
        self._quantizer = FakeQuantize(highest=gate.highest)
        self._quantizer.set_range(torch.tensor(end or 1.0))

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        if target != self._layer:
            return super().call_module(target, args, kwargs)
        high, _ = pytorch.split(self._gate, self._quantizer(args[0]), self._quantizer.scale)
        return super().call_module(target, (high,), kwargs)
