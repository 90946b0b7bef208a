"""Which layers take longer in one table than in another."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgedet.bench.layers.table import Layer, LayerTable


@dataclass(frozen=True)
class Move:
    """A layer's time in two tables.

    Attributes:
        label: what a person knows the layer by.
        kind: what it computes; of the head where both have it.
        base_ms, head_ms: of one run, the medians; None where the table has no such layer.
    """

    label: str
    kind: str
    base_ms: float | None
    head_ms: float | None

    @property
    def difference_ms(self) -> float:
        """How much longer the head takes; all that it takes where the base has no such layer."""
        return (self.head_ms or 0.0) - (self.base_ms or 0.0)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {**asdict(self), "difference_ms": self.difference_ms}


def moved(base: LayerTable, head: LayerTable) -> list[Move]:
    """The layers of two tables side by side, the largest difference first, whichever way it goes.

    Layers are paired by label, kind and shape, then by label, as a convolution in float and in integers, then by kind
    and shape, as in another model; several of one kind in the order in which they run. What a runtime inserted has no
    name of its own: its label pairs nothing.
    """
    keys: list[Callable[[Layer], Hashable]] = [
        lambda layer: (layer.label, layer.kind, layer.shape),
        lambda layer: None if layer.inserted else layer.label,
        lambda layer: (layer.kind, layer.shape),
    ]
    found, left, right = list[Move](), list(base.layers), list(head.layers)
    for key in keys:
        pairs, left, right = _paired(left, right, key)
        found += [Move(two.label, two.kind, one.milliseconds, two.milliseconds) for one, two in pairs]
    found += [Move(layer.label, layer.kind, layer.milliseconds, None) for layer in left]
    found += [Move(layer.label, layer.kind, None, layer.milliseconds) for layer in right]
    return sorted(found, key=lambda move: -abs(move.difference_ms))


def _paired(
    left: list[Layer], right: list[Layer], key: Callable[[Layer], Hashable]
) -> tuple[list[tuple[Layer, Layer]], list[Layer], list[Layer]]:
    """Layers of one key, and what is left over on both sides; a key of None pairs nothing."""
    waiting: dict[Hashable, list[Layer]] = {}
    for layer in left:
        waiting.setdefault(key(layer), []).append(layer)
    waiting.pop(None, None)
    pairs, alone = list[tuple[Layer, Layer]](), list[Layer]()
    for layer in right:
        candidates = waiting.get(key(layer))
        if candidates:
            pairs.append((candidates.pop(0), layer))
        else:
            alone.append(layer)
    taken = {id(one) for one, _ in pairs}
    return pairs, [layer for layer in left if id(layer) not in taken], alone


def beyond_noise(moves: Sequence[Move], again: Sequence[Move]) -> list[Move]:
    """Those that differ by more than any layer of one model did between two tables of it.

    Args:
        moves: of two models.
        again: of the base and the base once more.
    """
    noise = max((abs(move.difference_ms) for move in again), default=0.0)
    return [move for move in moves if abs(move.difference_ms) > noise]
