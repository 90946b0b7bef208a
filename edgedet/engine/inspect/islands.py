"""Layers that compute in FP32 between such of lower precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from edgedet.engine.inspect.finding import FLOAT32_ISLAND
from edgedet.engine.inspect.layers import Engine, Layer
from edgedet.graph.lint.finding import Finding

SHOWN = 3


def float32_islands(engine: Engine) -> Iterator[Finding]:
    """Connected layers in FP32 that values of lower precision go into and come out of.

    What stands behind the last convolution decodes boxes and scores, which takes FP32 in edgedet's engines: none of it
    is an island.
    """
    layers = engine.layers
    behind = _reached(layers, lambda layer: layer.is_lower)
    before = _reaching(layers, lambda layer: layer.is_lower) & _reaching(layers, lambda layer: layer.is_convolution)
    island = [layers[place] for place in sorted(behind & before) if layers[place].is_float32]
    groups = list(_connected(island))
    for group in sorted(groups, key=lambda group: -sum(layer.milliseconds or 0.0 for layer in group)):
        kinds = ", ".join(layer.kind for layer in group[:SHOWN])
        more = f" and {len(group) - SHOWN} more" if len(group) > SHOWN else ""
        share = engine.share(sum(layer.milliseconds or 0.0 for layer in group))
        takes = "" if share is None else f", {share:.1%} of the time"
        what = f"FP32 between lower precisions: {kinds}{more}{takes}"
        yield Finding(FLOAT32_ISLAND, tuple(layer.label for layer in group), what)


def _reached(layers: Sequence[Layer], starts: Callable[[Layer], bool]) -> set[int]:
    """The places of the layers that read, over any others, what a layer that starts has written.

    By the tensors' names, as they are several layers' that write parts of one tensor.
    """
    found, written = set[int](), set[str]()
    for place, layer in enumerate(layers):
        if any(tensor.name in written for tensor in layer.inputs):
            found.add(place)
        if place in found or starts(layer):
            written.update(tensor.name for tensor in layer.outputs)
    return found


def _reaching(layers: Sequence[Layer], ends: Callable[[Layer], bool]) -> set[int]:
    """The places of the layers whose results are read, over any others, by a layer that ends."""
    found, read = set[int](), set[str]()
    for place, layer in reversed(list(enumerate(layers))):
        if any(tensor.name in read for tensor in layer.outputs):
            found.add(place)
        if place in found or ends(layer):
            read.update(tensor.name for tensor in layer.inputs)
    return found


def _connected(layers: Sequence[Layer]) -> Iterator[list[Layer]]:
    """Groups of layers that share tensors, over any others of them, each in the order of the engine."""
    users: dict[str, list[int]] = {}
    for place, layer in enumerate(layers):
        for tensor in (*layer.inputs, *layer.outputs):
            users.setdefault(tensor.name, []).append(place)
    left = set(range(len(layers)))
    for first in range(len(layers)):
        group, reached = list[int](), [first]
        while reached:
            place = reached.pop()
            if place in left:
                left.remove(place)
                group.append(place)
                for tensor in (*layers[place].inputs, *layers[place].outputs):
                    reached += users.pop(tensor.name, [])
        if group:
            yield [layers[place] for place in sorted(group)]
