"""Compares two models tensor by tensor."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from edgedet.errors import CheckFailedError, EdgedetError
from edgedet.graph.comparison.grid import Array
from edgedet.graph.comparison.inputs import Inputs, inputs_for
from edgedet.graph.comparison.matching import Pair, match
from edgedet.graph.comparison.points import Point
from edgedet.graph.comparison.result import Comparison, TensorDifference
from edgedet.graph.comparison.side import Side, open_sides
from edgedet.graph.comparison.tolerance import Distance, deviation, distance, quantile, unit_of
from edgedet.graph.verify import (
    FLOAT16_TOLERANCE,
    FLOAT_TOLERANCE,
    INT8_TOLERANCE,
    Agreement,
    Outputs,
    agreement_of,
)
from edgedet.progress import Track, no_progress

ACCUMULATED_QUANTILE = 0.999


def compare_files(
    a: Path, b: Path, *, data: Path | None = None, loosen: float = 1.0, track: Track = no_progress
) -> Comparison:
    """Compares two files, checkpoints or ONNX, tensor by tensor.

    Args:
        a: the reference.
        b: what is held to it.
        data: a dataset or an image to compare on, see `edgedet.graph.verify.verification_images`.
        loosen: tolerances of tensors are multiplied by it.
        track: shows progress.

    Raises:
        EdgedetError: a file cannot be read, or the two cannot be compared.
        CheckFailedError: they prepare images differently, or a tensor has another shape.
    """
    side_a, side_b = open_sides(a, b)
    return compare_sides(side_a, side_b, inputs_for(side_a, side_b, data), loosen=loosen, track=track)


def compare_sides(a: Side, b: Side, inputs: Inputs, *, loosen: float = 1.0, track: Track = no_progress) -> Comparison:
    """Compares two opened models on input tensors; see `compare_files`."""
    pairs = match(a.values.points, a.values.before, b.values.points, b.values.before)
    if not pairs:
        raise EdgedetError(
            f"has no tensor in common with {b.path}", where=a.path, fix="compare files that were made of one network"
        )
    distances: dict[Pair, tuple[Distance, float]] = {}
    outputs: list[tuple[Outputs, Outputs]] = []
    for images in track(inputs.tensors, "comparing"):
        for pair, found in _differences(a, b, pairs, images, loosen):
            distances[pair] = _worse(distances[pair], found) if pair in distances else found
        if a.outputs is not None and b.outputs is not None:
            outputs.append((a.outputs(images), b.outputs(images)))
    tensors = tuple(_described(pair, *distances[pair]) for pair in pairs)
    return Comparison(
        a=str(a.path),
        b=str(b.path),
        engines=(a.values.engine, b.values.engine),
        source=inputs.images.source,
        images=len(inputs.images.images),
        tensors=tensors,
        only_in_a=_left_over(a.values.points, {pair.a for pair in pairs}),
        only_in_b=_left_over(b.values.points, {pair.b for pair in pairs}),
        agreement=_agreement(a, b, outputs, inputs),
    )


def _left_over(points: Sequence[Point], partners: Collection[Point]) -> tuple[str, ...]:
    """The tensors without a partner, but for other orders of one that has."""
    sources = {point.source for point in partners}
    return tuple(p.name for p in points if p not in partners and not (p.moved and p.source in sources))


def _differences(
    a: Side, b: Side, pairs: Sequence[Pair], images: Array, loosen: float
) -> Iterator[tuple[Pair, tuple[Distance, float]]]:
    """On one batch: how far each tensor is from what A computes of B's, and how far from A's own."""
    found = b.values.run(images, [pair.b for pair in pairs])
    own = a.values.run(images, [pair.a for pair in pairs])
    for pair in pairs:
        if found[pair.b.name].shape != own[pair.a.name].shape:
            what = f"{pair.b.name} is {list(found[pair.b.name].shape)}, in {a.path} {list(own[pair.a.name].shape)}"
            raise CheckFailedError(what, where=b.path)
    computed = a.values.recompute(images, {pair.a.name: found[pair.b.name] for pair in pairs})
    for pair in pairs:
        here, there = own[pair.a.name], found[pair.b.name]
        accumulated = quantile(deviation(here, there), ACCUMULATED_QUANTILE) / unit_of(pair, here)[1]
        yield pair, (distance(pair, computed[pair.a.name], there, loosen=loosen), accumulated)


def _worse(one: tuple[Distance, float], other: tuple[Distance, float]) -> tuple[Distance, float]:
    return max(one[0], other[0], key=lambda distance: distance.ratio), max(one[1], other[1])


def _described(pair: Pair, found: Distance, accumulated: float) -> TensorDifference:
    return TensorDifference(
        name=pair.a.name,
        name_in_b=pair.b.name,
        computed_by=pair.nodes,
        error=found.error,
        tolerance=found.tolerance,
        unit=found.unit,
        quantile=found.quantile,
        accumulated=accumulated,
    )


def _agreement(a: Side, b: Side, outputs: Sequence[tuple[Outputs, Outputs]], inputs: Inputs) -> Agreement | None:
    """None where there are no boxes and scores, or some are not finite: then a tensor diverges."""
    if not all(np.isfinite(array).all() for pair in outputs for one in pair for array in one) or not outputs:
        return None
    points = [*a.values.points, *b.values.points]
    tolerance = FLOAT_TOLERANCE
    if any(point.grid is not None for point in points):
        tolerance = INT8_TOLERANCE
    elif any(point.half for point in points):
        tolerance = FLOAT16_TOLERANCE
    return agreement_of(outputs, inputs.images, tolerance)
