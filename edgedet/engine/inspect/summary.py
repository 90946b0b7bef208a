"""An engine's layers, counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edgedet.engine.inspect.layers import Engine, Layer

QUANTIZER = "Quantizer"


@dataclass(frozen=True)
class Group:
    """Layers that have something in common.

    Attributes:
        name: what they have in common.
        layers: how many they are.
        milliseconds: of one run, together; None where no profile tells.
        share: of the time of the whole engine, from 0 to 1; None where no profile tells.
    """

    name: str
    layers: int
    milliseconds: float | None
    share: float | None


@dataclass(frozen=True)
class Summary:
    """What an engine is made of, in numbers.

    Attributes:
        layers: how many there are.
        reformats: how many of them change layouts or types alone.
        quantizers: how many of them quantize or dequantize alone.
        plugins: the plugins' operators, each once.
        by_kind: all layers, by what they compute; a lone quantizer is a `Quantizer`.
        by_precision: the layers that compute, by what they compute in.
    """

    layers: int
    reformats: int
    quantizers: int
    plugins: tuple[str, ...]
    by_kind: tuple[Group, ...]
    by_precision: tuple[Group, ...]


def summarize(engine: Engine) -> Summary:
    """Counts an engine's layers."""
    return Summary(
        layers=len(engine.layers),
        reformats=sum(layer.is_reformat for layer in engine.layers),
        quantizers=sum(layer.is_quantizer for layer in engine.layers),
        plugins=tuple(dict.fromkeys(layer.plugin for layer in engine.layers if layer.plugin is not None)),
        by_kind=_grouped(engine, engine.layers, _kind),
        by_precision=_grouped(
            engine, [layer for layer in engine.layers if layer.computes], lambda layer: layer.precision
        ),
    )


def _kind(layer: Layer) -> str:
    """TensorRT calls quantizers reformats."""
    return QUANTIZER if layer.is_quantizer else layer.kind


def _grouped(engine: Engine, layers: Iterable[Layer], key: Callable[[Layer], str]) -> tuple[Group, ...]:
    """What takes longest first; where no profile tells, what there is most of."""
    members: dict[str, list[Layer]] = {}
    for layer in layers:
        members.setdefault(key(layer), []).append(layer)
    groups = []
    for name, group in members.items():
        times = [layer.milliseconds for layer in group if layer.milliseconds is not None]
        milliseconds = sum(times) if engine.milliseconds is not None else None
        groups.append(Group(name, len(group), milliseconds, engine.share(milliseconds)))
    return tuple(sorted(groups, key=lambda group: (-(group.milliseconds or 0.0), -group.layers, group.name)))
