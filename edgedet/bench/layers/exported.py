"""The nodes of an ONNX file that ONNX Runtime's kernels stand for, and what they cost."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgedet.bench.layers.table import NUMBERED

if TYPE_CHECKING:
    from edgedet.graph.costs import NodeCost

PRODUCT_KERNEL = re.compile("Conv|Gemm|MatMul")
"""In the operator of every kernel that convolves or multiplies matrices: FusedConv, QLinearConv, QGemm, ..."""


def exported_costs(path: Path, *, batch: int) -> tuple[tuple[NodeCost, ...] | None, tuple[str, ...]]:
    """The costs of an ONNX file's nodes, and what to tell where they cannot be found.

    Args:
        path: the file.
        batch: images at once.

    Returns:
        None, and why, where a package that reads ONNX files is not installed.

    Raises:
        EdgedetError: as `edgedet.graph.costs.file_costs`.
    """
    try:
        from edgedet.graph.costs import file_costs
    except ModuleNotFoundError as error:
        return None, (f"no MACs: this needs the package {error.name!r} (pip install {error.name})",)
    return file_costs(path, batch=batch), ()


def nodes_of_kernels(kernels: Sequence[tuple[str, str]], costs: Sequence[NodeCost]) -> list[tuple[NodeCost, ...]]:
    """The nodes that each kernel stands for; of those that were fused into others, products alone are found.

    ONNX Runtime names a kernel after the node that it made it of, or after what that gives, and lengthens the name. A
    product whose name is gone belongs to the kernel that is named after what reads it: with a ReLU behind it, a
    convolution in blocked layout is called after the ReLU's result.

    Args:
        kernels: name and operator of each.
        costs: of the graph's nodes.

    Returns:
        for each kernel its nodes, products first; none where ONNX Runtime inserted it. Each product is in one at most.
    """
    by_name = {cost.name: cost for cost in costs} | {name: cost for cost in costs for name in cost.outputs}
    by_name |= {cost.name: cost for cost in costs}
    anchors = [by_name.get(name) or by_name.get(NUMBERED.sub("", name)) for name, _ in kernels]
    of_product = {
        anchor.name: place
        for place, ((_, operator), anchor) in reversed(list(enumerate(zip(kernels, anchors, strict=True))))
        if anchor is not None and PRODUCT_KERNEL.search(operator)
    }
    products: list[list[NodeCost]] = [[] for _ in kernels]
    readers = _readers(costs)
    for cost in costs:
        if cost.macs and (place := _kernel_behind(cost, of_product, readers)) is not None:
            products[place].append(cost)
    return [
        tuple(dict.fromkeys([*found, *([anchor] if anchor is not None and not anchor.macs else [])]))
        for found, anchor in zip(products, anchors, strict=True)
    ]


def _readers(costs: Sequence[NodeCost]) -> dict[str, list[NodeCost]]:
    readers: dict[str, list[NodeCost]] = {}
    for cost in costs:
        for tensor in cost.inputs:
            readers.setdefault(tensor, []).append(cost)
    return readers


def _kernel_behind(
    cost: NodeCost, of_product: Mapping[str, int], readers: Mapping[str, Sequence[NodeCost]]
) -> int | None:
    """The kernel named after a node, or after the first behind it, as long as one node alone reads each result."""
    node: NodeCost | None = cost
    while node is not None and node.name not in of_product:
        behind = [reader for tensor in node.outputs for reader in readers.get(tensor, ())]
        node = behind[0] if len(behind) == 1 and not behind[0].macs else None
    return None if node is None else of_product[node.name]
