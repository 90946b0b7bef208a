"""The loop of a measurement: as trtexec's, saturated, or at the pace of a camera."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from edgedet.bench.query import Query, Runner
from edgedet.interrupt import StopRequest


@dataclass(frozen=True)
class Trace:
    """The queries of a measurement.

    Attributes:
        queries: in the order in which they were collected, those of the warm-up left out; at least one.
        warm_up: how many queries came before.
    """

    queries: tuple[Query, ...]
    warm_up: int

    @property
    def wall_milliseconds(self) -> float:
        """From the begin of the first query to the end of the last."""
        return max(query.d2h_end for query in self.queries) - min(query.h2d_start for query in self.queries)


class Limit(Protocol):
    """How long to go on: the part of `edgedet.bench.settings.Settings` that says so."""

    @property
    def iterations(self) -> int: ...
    @property
    def duration(self) -> float: ...
    @property
    def warm_up(self) -> float: ...


def saturated(runners: Sequence[Runner], limit: Limit, stop: StopRequest) -> Trace:
    """The next query begins when there is room for it; each runner has a thread of its own, where there are several.

    Goes on for the warm-up and the duration, and until each runner had as many iterations, as trtexec does
    (NVIDIA/TensorRT, samples/common/sampleInference.cpp, `inferenceLoop`).

    Args:
        runners: their queries' times must count from about now.
        limit: how long.
        stop: asked for by Ctrl-C: what was measured until then is given.

    Raises:
        what a runner raises.
    """
    collected = _run(runners[0], limit, stop) if len(runners) == 1 else _run_together(runners, limit, stop)
    warm = [query for query in collected if query.compute_start >= limit.warm_up]
    counted = warm or collected[-1:]  # stopped, or a query took longer than the warm-up
    return Trace(tuple(counted), len(collected) - len(counted))


def _run(runner: Runner, limit: Limit, stop: StopRequest) -> list[Query]:
    collected: list[Query] = []
    end = limit.warm_up + limit.duration * 1e3
    under_way = counted = 0
    reached = 0.0
    while (counted < limit.iterations or reached < end) and not (stop.wanted and collected):
        while under_way < runner.depth:
            runner.submit()
            under_way += 1
        query = runner.collect()
        under_way -= 1
        collected.append(query)
        reached = query.d2h_end
        counted += query.compute_start >= limit.warm_up
    collected += [runner.collect() for _ in range(under_way)]
    return collected


def _run_together(runners: Sequence[Runner], limit: Limit, stop: StopRequest) -> list[Query]:
    results: list[list[Query]] = [[] for _ in runners]
    failures: list[BaseException] = []
    start = threading.Barrier(len(runners))

    def work(place: int) -> None:
        try:
            start.wait()
            results[place] = _run(runners[place], limit, stop)
        except BaseException as failure:
            failures.append(failure)
            stop.wanted = True

    threads = [threading.Thread(target=work, args=(place,), daemon=True) for place in range(len(runners))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return sorted((query for result in results for query in result), key=lambda query: query.d2h_end)


@dataclass(frozen=True)
class Frame:
    """One image that was processed, in milliseconds since the first came.

    Attributes:
        arrival: when it came.
        start, end: of its processing.
    """

    arrival: float
    start: float
    end: float

    @property
    def latency(self) -> float:
        """From its coming to its detections."""
        return self.end - self.arrival


@dataclass(frozen=True)
class Paced:
    """A measurement at a camera's rate.

    Attributes:
        frames: those that were processed; a deadline is the coming of the next one.
        dropped: came while others were being processed, and were replaced by newer ones.
        missed: ended after their deadlines.
        warm_up: how many were processed before.
    """

    frames: tuple[Frame, ...]
    dropped: int
    missed: int
    warm_up: int


def paced(run: Runner, fps: float, limit: Limit, stop: StopRequest) -> Paced:
    """Queries at the pace of a camera that keeps its newest image alone.

    Between images the processor rests, and its clocks may fall: latencies are those of the application, not the best.

    Args:
        run: begins with each image.
        fps: images a second.
        limit: how long.
        stop: as of `saturated`.
    """
    period = 1e3 / fps
    first_counted = round(limit.warm_up / period)
    last = first_counted + max(limit.iterations, round(limit.duration * 1e3 / period)) - 1
    zero = time.perf_counter()
    frames: list[Frame] = []
    number = dropped = processed = 0
    while number <= last and not (stop.wanted and frames):
        _sleep_until(zero + number * period / 1e3)
        start = time.perf_counter()
        run.submit()
        run.collect()
        frame = Frame(number * period, (start - zero) * 1e3, (time.perf_counter() - zero) * 1e3)
        processed += 1
        newest = max(number + 1, int(frame.end / period))
        if number >= first_counted or newest > last:
            frames.append(frame)
            dropped += min(newest, last + 1) - number - 1
        number = newest
    missed = sum(frame.latency > period for frame in frames)
    return Paced(tuple(frames), dropped, missed, processed - len(frames))


def _sleep_until(moment: float) -> None:
    """Sleeps, and for the last moment spins: waking up takes tens of microseconds, and not always as many."""
    while (left := moment - time.perf_counter()) > 0:
        if left > 0.001:
            time.sleep(left - 0.001)
