"""From a float detector to one that rounds its edges and weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from edgedet.errors import EdgedetError, unknown_value
from edgedet.models.detector import DetectionNetwork, Detector
from edgedet.models.dropblock import DropBlock
from edgedet.models.folding.channel_shuffle import fold_channel_shuffles
from edgedet.models.quantized.codes import HIGHEST, HIGHEST_UNSIGNED
from edgedet.models.quantized.edges import (
    Edge,
    can_be_negative,
    edge_read_by,
    find_edges,
    module_of,
    readers_in,
    readers_of,
)
from edgedet.models.quantized.fake_quantize import SMALLEST_SCALE, FakeQuantize, QuantizedConv2d
from edgedet.models.quantized.gated import GatedQuantizedConv2d, gate_of
from edgedet.models.quantized.recipe import Gating, Recipe

QUANTIZERS = "quantizers"

BITS_OF_EDGES = 8
"""Gates of as many bits split the codes of the edge that they read, and need no grid of their own."""

REFINED = HIGHEST / HIGHEST_UNSIGNED
"""How much finer a lowering may make the grid of a tensor that is never negative."""

LARGEST_BIAS_CODE = 2.0**30
"""Half of what 32 bits hold: the other half is for the sum that the bias is added to."""


class QuantizedDetector(DetectionNetwork):
    """A detector of the same inputs and outputs whose tensors between layers lie on INT8 grids.

    Its channel shuffles are folded first, so its weights are those of the folded detector.

    Args:
        detector: float; it is copied.
        recipe: what stays float, and what is gated.

    Raises:
        EdgedetError: an edge that is to stay float is unknown, a convolution cannot be gated, or more than 8 bits are
            to be split of what is rounded to 8.

    Attributes:
        recipe: how the detector was quantized.
        edges: the tensors that share a grid each. Gates of 8 bits split the codes of the edge that they read; gates of
            other bits have a grid of their own for the edge, and an edge that nothing else reads has no other.
        gated_inputs: the edge that each gated convolution reads, by the convolution's name.
        network: the traced network with the quantizers in it.
    """

    def __init__(self, detector: Detector, recipe: Recipe) -> None:
        super().__init__()
        network = traced(detector)
        edges = find_edges(network)
        for name in recipe.keep_float:
            if name not in (known := [edge.name for edge in edges]):
                raise unknown_value("edge", name, known)
        layers = () if recipe.gating is None else recipe.gating.layers
        self.architecture = detector.architecture
        self.recipe = recipe
        self.gated_inputs: Mapping[str, str] = {layer: edge_read_by(layer, edges, network).name for layer in layers}
        own = set[str]()
        if recipe.gating is not None and recipe.gating.bits != BITS_OF_EDGES:
            own = {edge.name for edge in edges if readers_in(network, edge) <= set(layers)}
        self.edges = tuple(edge for edge in edges if edge.name not in {*recipe.keep_float, *own})
        self.network = network
        self._decoder = detector.head.decoder
        rounded = {node for edge in self.edges for node in (*edge.sources, *edge.carriers)}
        grids = {} if recipe.gating is None else _gate(network, recipe.gating, edges, self.edges, self.gated_inputs)
        for node, conv in readers_of(network, rounded):
            if not isinstance(conv, QuantizedConv2d):
                network.set_submodule(str(node.target), QuantizedConv2d(conv))
        for index, edge in enumerate(self.edges):
            is_split = recipe.gating is not None and recipe.gating.bits == BITS_OF_EDGES and edge.name in grids
            quantizer = grids.pop(edge.name) if is_split else FakeQuantize(bound=_bound(edge, network))
            _insert(network, edge, index, quantizer)
        _round_for_gates(network, self.gated_inputs, grids, {edge.name: i for i, edge in enumerate(self.edges)})
        network.recompile()

    @property
    def num_classes(self) -> int:
        """C."""
        return self._decoder.num_classes

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the head's levels."""
        return self._decoder.strides

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits

    def points(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        return self._decoder.points(height, width)

    def decode(self, raw: Tensor, points: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
        return self._decoder.decode(raw, points, strides)

    def quantizers(self) -> Mapping[str, FakeQuantize]:
        """The quantizer of each edge that has one for all of its readers, by the edge's name."""
        modules = {edge.name: self.network.get_submodule(_path(index)) for index, edge in enumerate(self.edges)}
        return {name: module for name, module in modules.items() if isinstance(module, FakeQuantize)}

    def gate_grids(self) -> Mapping[str, FakeQuantize]:
        """The quantizer whose codes each gated convolution splits, by the convolution's name.

        Convolutions that read the same edge share one; with gates of 8 bits it is the edge's.
        """
        found = {}
        for node in self.network.graph.nodes:
            if isinstance(module_of(node, self.network), GatedQuantizedConv2d):
                path, _, _ = str(node.args[1].target).rpartition(".")
                found[str(node.target)] = self.network.get_submodule(path)
        return found  # type: ignore[return-value]


def _gate(
    network: fx.GraphModule,
    gating: Gating,
    edges: Sequence[Edge],
    rounded: Sequence[Edge],
    inputs: Mapping[str, str],
) -> dict[str, FakeQuantize]:
    """Gates the layers of a traced network, whose weights and statistics they take over.

    Returns:
        What rounds the layers' inputs, by the edge.
    """
    nodes = {node.target: node for node in network.graph.nodes if node.op == "call_module"}
    edge_of = {edge.name: edge for edge in edges}
    grids: dict[str, FakeQuantize] = {}
    for layer, name in inputs.items():
        conv, following = module_of(nodes[layer], network), [module_of(user, network) for user in nodes[layer].users]
        if not isinstance(conv, nn.Conv2d) or conv.groups > 1 or not isinstance(following[0], nn.BatchNorm2d):
            fix = "gate convolutions over all channels, with a normalisation behind them"
            raise EdgedetError("the convolution cannot be gated", where=layer, fix=fix)
        if gating.bits > BITS_OF_EDGES and edge_of[name] in rounded:
            what = f"the input of the convolution has {BITS_OF_EDGES} bits, of which {gating.bits} cannot be split"
            raise EdgedetError(what, where=layer, fix=f"keep its edge float, {name}, or gate all that reads it")
        definition = gate_of(gating, signed=can_be_negative(edge_of[name], network))
        network.set_submodule(layer, GatedQuantizedConv2d(conv, following[0], definition))
        grids[name] = FakeQuantize(bound=_bound(edge_of[name], network), highest=definition.highest)
    return grids


def _round_for_gates(
    network: fx.GraphModule, inputs: Mapping[str, str], own: Mapping[str, FakeQuantize], indices: Mapping[str, int]
) -> None:
    """Gives gated convolutions what they split, and its step.

    Args:
        network: with the quantizers of edges.
        inputs: the edge that each layer reads.
        own: what rounds edges for gated convolutions alone; where an edge has none, they split the edge's own codes.
        indices: of the quantizers of edges.
    """
    nodes = {node.target: node for node in network.graph.nodes if node.op == "call_module"}
    paths = {name: _path(index) for index, name in enumerate(own, len(indices))}
    rounded: dict[fx.Node, fx.Node] = {}
    for name, quantizer in own.items():
        network.add_submodule(paths[name], quantizer)
    for layer, name in inputs.items():
        (source,) = nodes[layer].all_input_nodes
        path = paths[name] if name in own else _path(indices[name])
        if name in own:
            if source not in rounded:
                with network.graph.inserting_after(source):
                    rounded[source] = network.graph.call_module(path, (source,))
            source = rounded[source]
        with network.graph.inserting_before(nodes[layer]):
            step = network.graph.get_attr(f"{path}.scale")
        nodes[layer].args = (source, step)


def folded(quantized: QuantizedDetector) -> QuantizedDetector:
    """A copy in which every convolution has taken in its batch normalisation, for inference.

    The grid of a channel's weights grows by the factor that the weights grow by, so no weight rounds otherwise.
    """
    quantized = copy.deepcopy(quantized).eval()
    network = quantized.network
    for node in network.graph.nodes:
        norm = module_of(node, network)
        if not isinstance(norm, nn.BatchNorm2d):
            continue
        (source,) = node.all_input_nodes
        conv = module_of(source, network)
        assert isinstance(conv, nn.Conv2d) and list(source.users) == [node]
        network.set_submodule(str(source.target), _fold(conv, norm))
        node.replace_all_uses_with(source)
        network.graph.erase_node(node)
    network.recompile()
    network.delete_all_unused_submodules()
    _make_room_for_biases_(network)
    _clip_weights_(network)
    return quantized


def without_rounding(quantized: QuantizedDetector) -> QuantizedDetector:
    """A copy that rounds nothing: the float detector that it was made of, in the same shape.

    Weights that training left beyond the end of their grid are taken for the end, as in everything that is exported.
    """
    quantized = copy.deepcopy(quantized)
    _clip_weights_(quantized.network)
    for name, module in list(quantized.network.named_modules()):
        if isinstance(module, FakeQuantize):
            quantized.network.set_submodule(name, nn.Identity())
    return quantized


def with_rounded_carriers(quantized: QuantizedDetector) -> QuantizedDetector:
    """A copy that rounds what picks and repeats rounded values once more, which changes nothing.

    For a graph in which every tensor that a runtime may keep as integers says so.
    """
    quantized = copy.deepcopy(quantized)
    network = quantized.network
    for index, edge in enumerate(quantized.edges):
        nodes = {node.name: node for node in network.graph.nodes}
        for name in edge.carriers:
            if nodes[name].target != "split":  # gives a tuple; its parts are carriers themselves
                _round(network, nodes[name], index)
    network.recompile()
    return quantized


@torch.no_grad()
def _clip_weights_(network: fx.GraphModule) -> None:
    """Weights beyond their grid onto its end, where they are rounded to: ONNX's grid goes on."""
    for conv in network.modules():
        if isinstance(conv, QuantizedConv2d):
            end = (conv.weight_quantizer.scale * conv.weight_quantizer.highest).view(-1, 1, 1, 1)
            conv.weight.clamp_(-end, end)


@torch.no_grad()
def _make_room_for_biases_(network: fx.GraphModule) -> None:
    """Widens the grids of channels with hardly any weights, until their biases fit into 32-bit integers.

    Integer kernels add a bias in steps of input step times weight step. A channel that training switched off has steps
    so small that its bias would not fit; what its weights add is below a billionth of that bias either way.
    """
    for node in network.graph.nodes:
        conv = module_of(node, network)
        grid = _grid_before(network, node)
        if isinstance(conv, QuantizedConv2d) and conv.bias is not None and grid is not None:
            step = grid.scale * REFINED
            conv.weight_quantizer.scale.clamp_(min=conv.bias.abs() / (step * LARGEST_BIAS_CODE))


def _grid_before(network: fx.GraphModule, node: fx.Node) -> FakeQuantize | None:
    """The grid that a node reads from, through whatever picks or repeats its values; None where it reads others."""
    while node.all_input_nodes:
        node = node.all_input_nodes[0]
        module = module_of(node, network)
        if isinstance(module, FakeQuantize):
            return module
        if isinstance(module, nn.Conv2d):
            return None
    return None


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    fused = fuse_conv_bn_eval(conv, norm)
    if isinstance(fused, QuantizedConv2d):
        assert norm.running_var is not None
        factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        with torch.no_grad():
            fused.weight_quantizer.scale.mul_(factor.abs()).clamp_(min=SMALLEST_SCALE)
        if isinstance(fused, GatedQuantizedConv2d):
            fused.gate.fold_(factor.detach())
    return fused


def traced(detector: Detector) -> fx.GraphModule:
    """The graph of a float detector without channel shuffles, in which edges are found."""
    copied = fold_channel_shuffles(detector)
    _stop_dropping_(copied)
    return fx.symbolic_trace(copied).train(detector.training)


def _stop_dropping_(detector: Detector) -> None:
    """Takes DropBlock out: grids are chosen and trained on whole maps, and its choices cannot be traced."""
    for lateral in detector.neck.laterals:
        assert isinstance(lateral, nn.Sequential)
        if isinstance(lateral[-1], DropBlock):
            del lateral[-1]


def _path(index: int) -> str:
    return f"{QUANTIZERS}.{index}"


def _insert(network: fx.GraphModule, edge: Edge, index: int, quantizer: FakeQuantize) -> None:
    """Rounds what the edge's sources give, for all of their readers."""
    nodes = {node.name: node for node in network.graph.nodes}
    network.add_submodule(_path(index), quantizer)
    for source in edge.sources:
        _round(network, nodes[source], index)


def _bound(edge: Edge, network: fx.GraphModule) -> float:
    """What no value of an edge is beyond."""
    nodes = {node.name: node for node in network.graph.nodes}
    bounded = all(isinstance(module_of(nodes[source], network), nn.ReLU6) for source in edge.sources)
    return 6.0 if bounded else math.inf


def _round(network: fx.GraphModule, node: fx.Node, index: int) -> None:
    with network.graph.inserting_after(node):
        rounded = network.graph.call_module(_path(index), (node,))
    node.replace_all_uses_with(rounded, delete_user_cb=lambda user: user is not rounded)
