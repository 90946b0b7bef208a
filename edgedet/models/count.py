"""The size of a network: parameters and multiply-accumulates."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def count_parameters(module: nn.Module) -> int:
    """Elements of all parameters, each shared one once; batch norm's scales count, its running statistics do not."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_macs(module: nn.Module, height: int, width: int) -> int:
    """Multiply-accumulates for one image `[1, 3, height, width]`: of `nn.Conv2d` and `nn.Linear` only.

    A multiply-add is one (figures called FLOPs or "G" are often twice as high). Biases, batch norms, which fold into
    the convolutions, activations and sums do not count. A copy of `module` is run; it stays as it is.
    """
    return sum(_macs_by_layer(module, height, width).values())


def count_macs_by_child(module: nn.Module, height: int, width: int) -> dict[str, int]:
    """`count_macs` of each of the module's direct children, by name."""
    by_layer = _macs_by_layer(module, height, width)
    return {
        child: sum(macs for layer, macs in by_layer.items() if layer.partition(".")[0] == child)
        for child, _ in module.named_children()
    }


def _macs_by_layer(module: nn.Module, height: int, width: int) -> dict[str, int]:
    """By the layer's name in `module`; a layer that runs twice counts twice."""
    # Not on the meta device: it saves milliseconds of arithmetic and takes seconds to import what it needs.
    replica = copy.deepcopy(module).cpu().float().eval()
    macs: dict[str, int] = {}
    for name, layer in replica.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(_counter(name, macs))
    with torch.no_grad():
        replica(torch.zeros(1, 3, height, width))
    return macs


def _counter(name: str, macs: dict[str, int]) -> Callable[[nn.Module, Any, Tensor], None]:
    def count(layer: nn.Module, _inputs: Any, output: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        # weight [out, in / groups, ...]: every output element is a sum over all axes but the first.
        macs[name] = macs.get(name, 0) + output.numel() * layer.weight[0].numel()

    return count
