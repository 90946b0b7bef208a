"""Which tensors of a detector are rounded, and which of them share a grid.

An edge is a set of tensors on one grid: what a convolution (with its normalisation, and its activation if that is ReLU
or ReLU6), another activation, an addition or the image gives, and everything that only picks or repeats those values:
maximum pooling, nearest upsampling, slices and concatenations. All readers of a tensor see the same rounded values, and
a concatenation copies bytes.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from torch import fx, nn
from torch.nn import functional

from edgedet.errors import unknown_value

FLOAT_ACTIVATIONS = (nn.LeakyReLU, nn.Hardswish, nn.SiLU, nn.Mish)
"""What an integer convolution can take in are ReLU and ReLU6. These are computed in float, of rounded values: the
convolution before one of them can then be an integer kernel."""

FLOAT_FROM = ("head.outputs", "head.class_outputs", "head.box_outputs")
"""What these convolutions give of rounded maps and weights, and all that follows, stays float: logits, box
distributions, decoding."""


@dataclass(frozen=True)
class Edge:
    """Tensors on one grid, as names of nodes of the traced network.

    Attributes:
        name: of the first source, which is the module path of the layer that gives it.
        sources: nodes whose results are rounded.
        carriers: nodes that pick or repeat rounded values.
    """

    name: str
    sources: tuple[str, ...]
    carriers: tuple[str, ...]


def find_edges(network: fx.GraphModule) -> tuple[Edge, ...]:
    """The edges of a traced detector, in the order of its computation."""
    floats = _behind_logits(network)
    nodes = [node for node in network.graph.nodes if node not in floats]
    quantized = [node for node in nodes if any(_reads_rounded(user, network) for user in node.users)]
    owner = {node: node for node in quantized}
    for node in quantized:
        if _carries(node, network):
            for source in node.all_input_nodes:
                _join(owner, source, node)
    groups: dict[fx.Node, list[fx.Node]] = {}
    for node in quantized:
        groups.setdefault(_root(owner, node), []).append(node)
    return tuple(_edge(members, network) for members in groups.values())


def readers_of(network: fx.GraphModule, tensors: Collection[str]) -> Iterator[tuple[fx.Node, nn.Conv2d]]:
    """The convolutions that read one of the tensors (names of nodes)."""
    for node in network.graph.nodes:
        module = module_of(node, network)
        reads = any(source.name in tensors for source in node.all_input_nodes)
        if isinstance(module, nn.Conv2d) and reads:
            yield node, module


def module_of(node: fx.Node, network: fx.GraphModule) -> nn.Module | None:
    """The module that a node calls, if it calls one."""
    return network.get_submodule(str(node.target)) if node.op == "call_module" else None


def edge_read_by(layer: str, edges: Collection[Edge], network: fx.GraphModule) -> Edge:
    """The edge that a convolution reads.

    Args:
        layer: its module path.
        edges: of `find_edges`.
        network: the traced network.

    Raises:
        EdgedetError: no convolution of that name reads an edge.
    """
    for edge in edges:
        for node, _ in readers_of(network, {*edge.sources, *edge.carriers}):
            if str(node.target) == layer:
                return edge
    known = [str(node.target) for edge in edges for node, _ in readers_of(network, {*edge.sources, *edge.carriers})]
    raise unknown_value("convolution", layer, known)


def readers_in(network: fx.GraphModule, edge: Edge) -> set[str]:
    """The module paths, or names, of all that reads an edge's tensors, besides what carries them."""
    tensors = {*edge.sources, *edge.carriers}
    readers = {node for node in network.graph.nodes if any(one.name in tensors for one in node.all_input_nodes)}
    return {str(node.target) for node in readers if node.name not in edge.carriers}


def can_be_negative(edge: Edge, network: fx.GraphModule) -> bool:
    """Whether anything but ReLU and ReLU6 gives the edge's tensors, or adds them up."""
    nodes = {node.name: node for node in network.graph.nodes}
    return not all(_is_never_negative(nodes[source], network) for source in edge.sources)


def _is_never_negative(node: fx.Node, network: fx.GraphModule) -> bool:
    if _adds(node) or _carries(node, network):
        return all(_is_never_negative(source, network) for source in node.all_input_nodes)
    return isinstance(module_of(node, network), (nn.ReLU, nn.ReLU6))


def _edge(members: list[fx.Node], network: fx.GraphModule) -> Edge:
    carriers = [node for node in members if _carries(node, network)]
    sources = [node for node in members if node not in carriers]
    name = str(sources[0].target) if sources[0].op == "call_module" else sources[0].name
    return Edge(name, tuple(node.name for node in sources), tuple(node.name for node in carriers))


def _behind_logits(network: fx.GraphModule) -> set[fx.Node]:
    """The convolutions that give logits, and all that follows from them."""
    found = set[fx.Node]()
    for node in network.graph.nodes:
        if _gives_logits(node) or not found.isdisjoint(node.all_input_nodes):
            found.add(node)
    return found


def _gives_logits(node: fx.Node) -> bool:
    return node.op == "call_module" and str(node.target).startswith(FLOAT_FROM)


def _reads_rounded(node: fx.Node, network: fx.GraphModule) -> bool:
    """Whether the node is one of those that integer kernels exist for, and whose inputs are therefore rounded."""
    module = module_of(node, network)
    return isinstance(module, (nn.Conv2d, *FLOAT_ACTIVATIONS)) or _adds(node) or _carries(node, network)


def _carries(node: fx.Node, network: fx.GraphModule) -> bool:
    if node.op == "call_module":
        return isinstance(module_of(node, network), nn.MaxPool2d)
    if node.op == "call_method":
        return node.target == "split"
    return node.op == "call_function" and node.target in (torch.cat, functional.interpolate, operator.getitem)


def _adds(node: fx.Node) -> bool:
    return node.op == "call_function" and node.target in (operator.add, torch.add)


def _root(owner: dict[fx.Node, fx.Node], node: fx.Node) -> fx.Node:
    while owner[node] is not node:
        node = owner[node]
    return node


def _join(owner: dict[fx.Node, fx.Node], first: fx.Node, second: fx.Node) -> None:
    """The group that comes first keeps its root."""
    owner[_root(owner, second)] = _root(owner, first)
