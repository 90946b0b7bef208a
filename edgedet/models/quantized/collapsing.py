"""Gated detectors without their gates: what every runtime can compute, and what gating is compared with."""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import fx, nn

from edgedet.models.quantized.codes import HIGHEST, HIGHEST_UNSIGNED
from edgedet.models.quantized.detector import QUANTIZERS, QuantizedDetector
from edgedet.models.quantized.fake_quantize import FakeQuantize, QuantizedConv2d
from edgedet.models.quantized.gated import GatedQuantizedConv2d, gated_layers
from edgedet.ops.gated_conv.definition import GatedConv

Part = Literal["full", "high"]
"""Of a gated convolution's input: all bits everywhere, or the high ones alone."""


def collapsed(quantized: QuantizedDetector, part: Part = "full") -> QuantizedDetector:
    """A copy whose gated convolutions have the same part of their input everywhere; for export, not for checkpoints.

    Inputs of 8 bits that are never negative end at code 127 as those of every edge do, on a grid that a lowering with
    255 steps makes theirs again. Inputs of more than 8 bits stay float.
    """
    quantized = copy.deepcopy(quantized)
    network = quantized.network
    edges = quantized.quantizers().values()
    nodes = {str(node.target): node for node in network.graph.nodes if node.op == "call_module"}
    rounded: dict[tuple[fx.Node, str], fx.Node] = {}
    grids = quantized.gate_grids()
    for layer, conv in gated_layers(network).items():
        source, _ = nodes[layer].args
        assert isinstance(source, fx.Node)
        is_own = grids[layer] not in edges
        nodes[layer].args = (source.args[0] if is_own else source,)
        scale = grids[layer].scale.detach()
        roundings = _whole(conv.definition, scale) if is_own else []
        if part == "high":
            roundings += _high(conv.definition, scale)
        for rounding in roundings:
            _round_input(network, nodes[layer], rounding, rounded)
        network.set_submodule(layer, _without_gate(conv))
    for quantizer in edges:
        if quantizer.highest > HIGHEST:
            end, quantizer.highest = quantizer.scale * quantizer.highest, HIGHEST
            quantizer.set_range(end)
    network.graph.eliminate_dead_code()
    network.delete_all_unused_submodules()
    network.recompile()
    quantized.recipe = quantized.recipe.model_copy(update={"gating": None})
    quantized.gated_inputs = {}
    return quantized


def _whole(gate: GatedConv, scale: torch.Tensor) -> list[nn.Module]:
    """What rounds to all codes of a grid, one after the other."""
    highest_of_8_bits = HIGHEST if gate.lowest < 0 else HIGHEST_UNSIGNED
    if gate.highest > highest_of_8_bits:
        return []
    if gate.highest == highest_of_8_bits:
        return [_grid(scale * gate.highest / HIGHEST)]
    return _narrow(scale, gate.lowest, gate.highest)


def _high(gate: GatedConv, scale: torch.Tensor) -> list[nn.Module]:
    """What rounds to the high parts of codes."""
    return _narrow(scale * gate.step, gate.lowest // gate.step, gate.highest // gate.step)


def _narrow(scale: torch.Tensor, lowest: int, highest: int) -> list[nn.Module]:
    """A grid of fewer codes than 8 bits have: values beyond are cut off before.

    The cut leaves room below 0, so that it is no activation; `edgedet.graph.lowerings.cut_codes` knows it by its end.
    """
    if highest >= HIGHEST:
        return [_grid(scale)]
    return [nn.Hardtanh(float(scale) * min(lowest, -1), float(scale) * highest), _grid(scale)]


def _grid(scale: torch.Tensor) -> FakeQuantize:
    made = FakeQuantize()
    made.scale.copy_(scale)
    return made


def _round_input(
    network: fx.GraphModule, conv: fx.Node, rounding: nn.Module, rounded: dict[tuple[fx.Node, str], fx.Node]
) -> None:
    """Rounds what one convolution reads; what another one reads rounded alike is rounded once, and kept in `rounded`.

    PyTorch's exporter would join the two, and the graph could not be compared with what it was traced from.
    """
    (source,) = conv.all_input_nodes
    alike = source, _described(rounding)
    if alike not in rounded:
        path = f"{QUANTIZERS}.{len(list(network.get_submodule(QUANTIZERS).children()))}"
        network.add_submodule(path, rounding)
        with network.graph.inserting_after(source):
            rounded[alike] = network.graph.call_module(path, (source,))
    conv.args = (rounded[alike],)


def _described(rounding: nn.Module) -> str:
    return f"grid {rounding.scale.item()!r}" if isinstance(rounding, FakeQuantize) else repr(rounding)


def _without_gate(gated: GatedQuantizedConv2d) -> QuantizedConv2d:
    plain = QuantizedConv2d(gated)
    plain.weight_quantizer = gated.weight_quantizer
    return plain.train(gated.training)
