"""Which nodes of the ONNX file a layer stands for."""

from __future__ import annotations

import re

REFORMATTING, FOREIGN, GENERATED = "Reformatting CopyNode", "{ForeignNode[", "__my"
"""Names that begin so name no nodes: a copy names the layer beside it, the others are the compiler's own."""

UNNAMED = "Unnamed Layer"
"""A layer that the parser added: its number is another in each engine."""

METADATA_NODE = re.compile(r"\[ONNX Layer: ([^\[\]]*)\]")


def nodes_of(name: str, metadata: str) -> tuple[str, ...]:
    """The names of a layer's ONNX nodes: those that its metadata lists, else those in its name.

    Metadata holds `[ONNX Layer: NAME]` for each node. A fused layer's name joins those of its nodes and weights with
    ` + `, those beside one another with ` || `, and pointwise ones stand in `PWN(A, B)`.
    """
    listed = METADATA_NODE.findall(metadata)
    return tuple(dict.fromkeys(node for node in listed if node)) or _nodes_in_name(name)


def _nodes_in_name(name: str) -> tuple[str, ...]:
    if name.startswith((REFORMATTING, FOREIGN, GENERATED)):
        return ()
    parts = [part for part in re.split(r" \+ | \|\| ", name) if UNNAMED not in part]
    nodes = [node.strip() for part in parts for node in re.split(r"PWN\(|, |\)", part)]
    return tuple(dict.fromkeys(node for node in nodes if node))


def is_quantizer(node: str) -> bool:
    """Whether a node quantizes or dequantizes, by its name: exporters put the operator into it."""
    return "quantizelinear" in node.lower()


def is_convolution(node: str) -> bool:
    """Whether a node is a convolution, by its name: `Conv_12`, `/backbone/conv1/Conv`."""
    return re.search(r"(?:^|/)Conv(?:Transpose)?(?:_\d+)?$", node) is not None


def is_weight(node: str) -> bool:
    """Whether what a layer's name lists is a weight, by PyTorch's names for them."""
    return node.endswith((".weight", ".bias"))
