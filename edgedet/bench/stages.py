"""The stages of a detection, from the image's file to boxes in its pixels, each timed by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from time import perf_counter

from edgedet.bench.inputs import Feed, Picture
from edgedet.bench.loop import Limit
from edgedet.interrupt import StopRequest
from edgedet.runtime.detector import Detector

STAGES = ("decode", "preprocess", "inference", "postprocess")
"""Inference is from the input tensor on the host to the outputs on the host: of an engine with both copies."""

WARM_UP_RUNS = 3


def detection(detector: Detector, feed: Feed, batch: int) -> Callable[[], object]:
    """A call that detects in the next `batch` images, from their files' bytes; behind the last comes the first."""
    numbers = count()

    def call() -> object:
        return detector.detect([picture.decoded() for picture in _next(feed.pictures, next(numbers), batch)])

    return call


def time_stages(
    detector: Detector, feed: Feed, batch: int, limit: Limit, stop: StopRequest
) -> dict[str, tuple[float, ...]]:
    """Milliseconds of each stage for every query; `total` is their sum.

    Args:
        detector: on a backend that is ready.
        feed: images, which are taken in turn.
        batch: images a query.
        limit: fewest queries, and the seconds that they go on for.
        stop: asked for by Ctrl-C.
    """
    rows: list[tuple[float, ...]] = []
    for number in range(WARM_UP_RUNS):
        _timed(detector, _next(feed.pictures, number, batch))
    end = perf_counter() + limit.duration
    while (len(rows) < limit.iterations or perf_counter() < end) and not (stop.wanted and rows):
        rows.append(_timed(detector, _next(feed.pictures, len(rows), batch)))
    columns = dict(zip(STAGES, zip(*rows, strict=True), strict=True))
    return {**columns, "total": tuple(map(sum, rows))}


def _timed(detector: Detector, pictures: Sequence[Picture]) -> tuple[float, ...]:
    start = perf_counter()
    images = [picture.decoded() for picture in pictures]
    decoded = (perf_counter() - start) * 1e3
    detector.detect(images)
    timings = detector.timings
    return decoded, timings.preprocess, timings.inference, timings.postprocess


def _next(pictures: Sequence[Picture], number: int, batch: int) -> list[Picture]:
    return [pictures[place % len(pictures)] for place in range(number * batch, (number + 1) * batch)]
