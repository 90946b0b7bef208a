"""Which tensors of two graphs are the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgedet.graph.comparison.points import Point
from edgedet.graph.comparison.segments import Segments

PICKS = frozenset({"Concat", "Reshape", "Slice", "Split", "Transpose"})
"""Operators that join, order or pick values. Where the results are alike, graphs may come to them on other ways."""


@dataclass(frozen=True, eq=False)
class Pair:
    """A tensor that both graphs compute.

    Attributes:
        a: in the first.
        b: in the second.
        alike: whether both round the same: B's tensor to a grid only where A's has one too, and between it and those
            before it the weights or none, and nothing that has no partner in the other; and whether A can compute it
            of what B has before it.
    """

    a: Point
    b: Point
    alike: bool
    nodes: tuple[str, ...]


def match(points_a: Sequence[Point], before_a: Segments, points_b: Sequence[Point], before_b: Segments) -> list[Pair]:
    """The tensors that both graphs compute, in the order of the first.

    Two are the same where they have one name, or are rounded from tensors of one name, or activations alone stand
    between them and tensors of one name; or else where the same operator makes them of the same tensors. The operator
    that gives them must be of one kind, or pick values, and no size may differ.
    """
    partners = dict(_by_name(points_a, points_b))
    partners.update(_by_inputs(partners, points_a, before_a, points_b, before_b))
    ends_a, ends_b = set(partners), set(partners.values())
    moved = {a.name for a in points_a if a.moved}
    pairs = []
    for a in points_a:
        if b := partners.get(a):
            one, other = before_a.before(a, ends_a), before_b.before(b, ends_b)
            between = one.rounds_weights == other.rounds_weights and not (one.rounds_within or other.rounds_within)
            computable = not a.moved and moved.isdisjoint(one.inputs)
            alike = between and computable and (b.grid is None or a.grid is not None)
            pairs.append(Pair(a, b, alike, one.nodes))
    return pairs


def _by_name(points_a: Sequence[Point], points_b: Sequence[Point]) -> Iterator[tuple[Point, Point]]:
    aliases: dict[str, list[Point]] = {}
    for point in points_b:
        aliases.setdefault(point.name, []).append(point)
    for point in points_b:
        for alias in point.aliases - {point.name}:
            aliases.setdefault(alias, []).append(point)
    free = set(points_b)
    for a in points_a:
        known = (b for alias in (a.name, a.source, *sorted(a.aliases)) for b in aliases.get(alias, ()))
        b = next((b for b in known if b in free and _could_be(a, b)), None)
        if b is not None:
            free.discard(b)
            yield a, b


def _by_inputs(
    partners: dict[Point, Point],
    points_a: Sequence[Point],
    before_a: Segments,
    points_b: Sequence[Point],
    before_b: Segments,
) -> Iterator[tuple[Point, Point]]:
    """Pairs what names leave over; only where just one tensor of the other graph will do."""
    names = {b.name: a.name for a, b in partners.items()}
    left = [point for point in points_b if point not in set(partners.values())]
    inputs_b = {b: before_b.before(b, set(points_b)).inputs for b in left}
    for a in points_a:
        if a in partners:
            continue
        inputs = before_a.before(a, set(points_a)).inputs
        fitting = [
            b for b in left if _could_be(a, b) and tuple(names.get(name, name) for name in inputs_b[b]) == inputs
        ]
        if len(fitting) == 1:
            left.remove(fitting[0])
            names[fitting[0].name] = a.name
            yield a, fitting[0]


def _could_be(a: Point, b: Point) -> bool:
    if a.kind != b.kind and not {a.kind, b.kind} <= PICKS:
        return False
    if a.sizes is None or b.sizes is None:
        return True
    return len(a.sizes) == len(b.sizes) and all(
        one is None or other is None or one == other for one, other in zip(a.sizes, b.sizes, strict=True)
    )
