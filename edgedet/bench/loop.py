"""The loop of a measurement: as trtexec's, saturated, or at the pace of a camera."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from edgedet.bench.query import Query, Runner
from edgedet.interrupt import StopRequest

LISTENING_SECONDS = 0.2
"""So long a wait for the next image may go on after Ctrl-C."""


@dataclass(frozen=True)
class Trace:
    """The queries of a measurement.

    Attributes:
        queries: in the order in which they began, those of the warm-up left out; at least one.
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
    return sorted((query for result in results for query in result), key=lambda query: query.h2d_start)


@dataclass(frozen=True)
class Frame:
    """One image that was processed, in milliseconds since the first came.

    Attributes:
        arrival: when it came.
        end: of its processing.
        query: what that was, by the clock of the runner.
    """

    arrival: float
    end: float
    query: Query

    @property
    def latency(self) -> float:
        """From its coming to its result."""
        return self.end - self.arrival


@dataclass(frozen=True)
class Paced:
    """A measurement at a camera's rate.

    Attributes:
        frames: those that were processed, without the warm-up; at least one.
        dropped: how many came while another was being processed, and were replaced by newer ones.
        missed: how many of the frames ended after their deadline, the coming of the next one.
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
        limit: how long images come: for the warm-up and the duration, and at least `iterations` after the warm-up.
        stop: as of `saturated`.
    """
    period = 1e3 / fps
    first = round(limit.warm_up / period)
    end = first + max(limit.iterations, round(limit.duration * 1e3 / period))
    zero = time.perf_counter()
    frames: list[Frame] = []
    number = dropped = warm_up = 0
    while number < end:
        _sleep_until(zero + number * period / 1e3, stop)
        if stop.wanted and frames:
            break
        run.submit()
        query = run.collect()
        frame = Frame(number * period, (time.perf_counter() - zero) * 1e3, query)
        newest = max(number + 1, int(frame.end / period))
        frames.append(frame)
        warm_up += number < first
        dropped += max(0, min(newest, end) - max(number + 1, first))
        number = newest
    counted = frames[warm_up:] or frames[-1:]  # stopped, or an image took longer than the rest of the warm-up
    missed = sum(frame.latency > period for frame in counted)
    return Paced(tuple(counted), dropped, missed, len(frames) - len(counted))


def _sleep_until(moment: float, stop: StopRequest) -> None:
    """Sleeps, and for the last moment spins: waking up takes tens of microseconds, and not always as many."""
    while (left := moment - time.perf_counter()) > 0 and not stop.wanted:
        if left > 0.001:
            time.sleep(min(left - 0.001, LISTENING_SECONDS))
