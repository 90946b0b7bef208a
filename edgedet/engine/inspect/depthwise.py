"""Depthwise convolutions that integers do not make faster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edgedet.engine.inspect.finding import SLOW_INT8_DEPTHWISE
from edgedet.engine.inspect.formats import INT8
from edgedet.engine.inspect.layers import Engine, Layer
from edgedet.engine.inspect.nodes import is_weight, nodes_of
from edgedet.graph.lint.finding import Finding

NOISE = 1.05
"""Times of single layers, microseconds each, differ by some percent from one profile to the next."""


def slow_int8_depthwise(engine: Engine, float16_profile: Mapping[str, float]) -> Iterator[Finding]:
    """Depthwise convolutions that take longer in INT8 than in an FP16 engine of the same network.

    Args:
        engine: with times.
        float16_profile: milliseconds by layer name, of the FP16 engine. A layer is held to all its layers that have a
            node in common: they do at least the same work.
    """
    for layer, float16 in compared(engine, float16_profile):
        if layer.milliseconds is not None and layer.milliseconds > NOISE * float16:
            what = f"{layer.milliseconds:.3g} ms in INT8, {float16:.3g} ms in FP16"
            yield Finding(SLOW_INT8_DEPTHWISE, (layer.label,), what)


def compared(engine: Engine, float16_profile: Mapping[str, float]) -> list[tuple[Layer, float]]:
    """The depthwise convolutions in INT8 whose nodes the other profile names, each with its milliseconds there."""
    places: dict[str, set[str]] = {}
    for name in float16_profile:
        for node in nodes_of(name, ""):
            places.setdefault(node, set()).add(name)
    found = []
    for layer in engine.costliest_first():
        if layer.is_depthwise and layer.precision == INT8 and layer.milliseconds is not None:
            # Convolutions that share their weights, as of a head for several sizes, are not one another's.
            own = [node for node in layer.nodes if not is_weight(node)]
            names = {name for node in own for name in places.get(node, ())}
            if names:
                found.append((layer, sum(float16_profile[name] for name in names)))
    return found
