"""Where the thresholds of gated convolutions start, and what keeps them there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from edgedet.models.quantized.detector import QuantizedDetector
from edgedet.models.quantized.gated import GatedQuantizedConv2d, gated_layers
from edgedet.ops.gated_conv import pytorch

MOST_VALUES = 1 << 20
"""That a quantile is taken of, for each layer."""

FAR = 1e4
"""Standard deviations that no result is away from the mean."""


See = Callable[[str, GatedQuantizedConv2d, Tensor, Tensor], None]
"""Has the name of a gated convolution, the convolution, its input `[B, I, H, W]` and the step of the input's grid."""


@contextmanager
def before_gates(network: nn.Module, see: See) -> Iterator[None]:
    """Lets `see` have each gated convolution before it is computed."""

    def seeing(name: str) -> Callable[[nn.Module, tuple[Tensor, Tensor]], None]:
        def hook(conv: nn.Module, args: tuple[Tensor, Tensor]) -> None:
            assert isinstance(conv, GatedQuantizedConv2d)
            see(name, conv, *args)

        return hook

    hooks = [conv.register_forward_pre_hook(seeing(name)) for name, conv in gated_layers(network).items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def start_thresholds(quantized: QuantizedDetector, images: Tensor, share: float) -> None:
    """Sets every threshold so that a share of the updates is made on the images, of each layer.

    With `element` gates each channel has a threshold of its own; where channels decide together they have the same, so
    that each has its say. Layers are set in the order of computation: each sees what those before it let through.

    Args:
        quantized: with gated convolutions, in eval mode.
        images: `[B, 3, H, W]`.
        share: 0 to 1; with 0 no update is ever made, and with 1 all are.
    """

    def start(_: str, conv: GatedQuantizedConv2d, x: Tensor, step: Tensor) -> None:
        conv.gate.measure_(convolved(conv, x))
        conv.gate.rest_(_quantile(_wishes(conv, x, step), share).expand(conv.out_channels).to(conv.gate.threshold))

    with before_gates(quantized.network, start):
        quantized(images)


@torch.no_grad()
def one_threshold(quantized: QuantizedDetector, images: Tensor, share: float) -> None:
    """Sets every threshold to the same number, in the units of the layers' results: the paper's fixed threshold.

    Args:
        quantized: with gated convolutions, in eval mode.
        images: `[B, 3, H, W]`.
        share: of the updates of all layers that are made on the images, about: it is chosen where the updates are made
            that thresholds of 0 let through.
    """
    layers = gated_layers(quantized.network).values()
    seen: list[Tensor] = []
    for conv in layers:
        conv.gate.measure_in_results_()
    with before_gates(quantized.network, lambda _, conv, x, step: seen.append(_wishes(conv, x, step))):
        quantized(images)
    threshold = _quantile(torch.cat([wishes.flatten() for wishes in seen])[None], share)
    for conv in layers:
        conv.gate.rest_(threshold.expand(conv.out_channels).to(conv.gate.threshold))


def _quantile(wishes: Tensor, share: float) -> Tensor:
    """What the share of each row, `[R, N]`, is above: `[R]`."""
    if share in (0.0, 1.0):
        return torch.full([len(wishes)], FAR if share == 0.0 else -FAR)
    every = -(-wishes.numel() // MOST_VALUES)
    return torch.quantile(wishes[:, ::every].double(), 1 - share, dim=1)


def decisions(conv: GatedQuantizedConv2d, x: Tensor, step: Tensor) -> Tensor:
    """Where the gate is open for an input, 1 or 0: `[B, O, H, W]`, or `[B, 1, H, W]` where channels decide together."""
    return (pytorch.strongest(conv.definition, _wish(conv, x, step, conv.gate.bounds())) > 0).to(x.dtype)


def _wishes(conv: GatedQuantizedConv2d, x: Tensor, step: Tensor) -> Tensor:
    """What a gate would be decided by with thresholds of 0: `[O, N]`, or `[1, N]` where channels decide together."""
    wishes = pytorch.strongest(conv.definition, _wish(conv, x, step, conv.gate.center))
    return wishes.transpose(0, 1).flatten(1)


def _wish(conv: GatedQuantizedConv2d, x: Tensor, step: Tensor, bounds: Tensor) -> Tensor:
    """Of each result, `[B, O, H, W]`, above bounds `[O]`."""
    gate = conv.gate
    high, _ = pytorch.split(conv.definition, x, step)
    return pytorch.wishes(convolved(conv, high), bounds, gate.sign, gate.unit)


def convolved(conv: GatedQuantizedConv2d, x: Tensor) -> Tensor:
    """Of the convolution without bias, for a rounded input: `[B, O, H, W]`."""
    weight = conv.weight_quantizer(conv.weight)
    return nn.functional.conv2d(x, weight, None, conv.stride, conv.padding, 1, conv.groups)


def let_thresholds_learn(quantized: QuantizedDetector) -> None:
    """Makes the thresholds parameters of the optimizer."""
    for conv in gated_layers(quantized.network).values():
        conv.gate.threshold.requires_grad_(True)


def pull(quantized: QuantizedDetector) -> Tensor:
    """What keeps the thresholds where they started: the sum over layers of the mean square of their distance.

    The paper's is the norm over a layer, of the distance from one number for all.
    """
    gates = [conv.gate for conv in gated_layers(quantized.network).values()]
    return torch.stack([(gate.threshold - gate.resting).square().mean() for gate in gates]).sum()


def updates(quantized: QuantizedDetector) -> Tensor:
    """Multiply-accumulates of low bits that all layers made for the last batch, and without gates would have; `[2]`."""
    return torch.stack([conv.gate.updates for conv in gated_layers(quantized.network).values()]).sum(dim=0)
