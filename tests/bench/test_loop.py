"""The loops, with runners that only count and clocks that only go where they are put."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from measurements import computed

from edgedet.bench import loop
from edgedet.bench.loop import Paced, Trace, paced, saturated
from edgedet.bench.query import Query
from edgedet.interrupt import StopRequest


@dataclass(frozen=True)
class Limit:
    iterations: int = 1
    duration: float = 0.0
    warm_up: float = 0.0


class Device:
    """Computes one query after the other, each for `milliseconds`, in a time of its own."""

    settings: Mapping[str, Any] = {}

    def __init__(self, milliseconds: float, *, depth: int = 1, stream: int = 0) -> None:
        self.milliseconds, self.depth, self.stream = milliseconds, depth, stream
        self.free_at = 0.0
        self.under_way: deque[Query] = deque()
        self.collected = 0
        self.most_under_way = 0
        self.on_collect: Callable[[Device], None] = lambda device: None

    def submit(self) -> None:
        start, self.free_at = self.free_at, self.free_at + self.milliseconds
        self.under_way.append(computed(start, self.free_at, self.stream))
        self.most_under_way = max(self.most_under_way, len(self.under_way))

    def collect(self) -> Query:
        self.collected += 1
        self.on_collect(self)
        return self.under_way.popleft()


def test_queries_that_begin_in_the_warm_up_are_not_counted() -> None:
    trace = saturated([Device(10)], Limit(iterations=5, warm_up=95), StopRequest())
    assert trace.warm_up == 10  # the one from 90 to 100 ms, too
    assert [query.compute_start for query in trace.queries] == [100, 110, 120, 130, 140]


def test_it_goes_on_for_the_duration_after_the_warm_up() -> None:
    trace = saturated([Device(10)], Limit(iterations=1, duration=0.1, warm_up=50), StopRequest())
    assert (trace.warm_up, len(trace.queries)) == (5, 10)
    assert trace.wall_milliseconds == 100


def test_it_goes_on_until_there_are_enough_queries() -> None:
    trace = saturated([Device(10)], Limit(iterations=30, duration=0.1, warm_up=50), StopRequest())
    assert (trace.warm_up, len(trace.queries)) == (5, 30)


def test_as_many_queries_are_on_their_way_as_the_runner_takes_and_all_are_collected() -> None:
    for depth in (1, 2, 3):
        device = Device(1, depth=depth)
        trace = saturated([device], Limit(iterations=10), StopRequest())
        assert device.most_under_way == depth
        assert not device.under_way
        assert len(trace.queries) == device.collected == 10 + depth - 1


def test_a_query_longer_than_everything_is_counted() -> None:
    trace = saturated([Device(1000)], Limit(iterations=1, duration=0.1, warm_up=5000), StopRequest())
    assert (trace.warm_up, len(trace.queries)) == (5, 1)
    stopped = StopRequest()
    stopped.wanted = True
    trace = saturated([Device(1000)], Limit(iterations=1, warm_up=5000), stopped)
    assert (trace.warm_up, len(trace.queries)) == (0, 1)


@pytest.mark.parametrize(("at", "warm_up"), [(3, 0.0), (3, 1e6)])
def test_ctrl_c_ends_it_with_what_was_measured(at: int, warm_up: float) -> None:
    stop, device = StopRequest(), Device(10, depth=2)

    def interrupt(device: Device) -> None:
        stop.wanted = device.collected >= at

    device.on_collect = interrupt
    trace = saturated([device], Limit(iterations=1_000_000, warm_up=warm_up), stop)
    assert device.collected == at + 1
    assert len(trace.queries) == (1 if warm_up else at + 1)
    assert trace.warm_up + len(trace.queries) == at + 1


def test_streams_run_at_once_each_with_its_own_iterations() -> None:
    at_once = threading.Barrier(3, timeout=30)

    def meet(device: Device) -> None:
        if device.collected == 1:
            at_once.wait()

    devices = [Device(length, depth=2, stream=stream) for stream, length in enumerate((1, 2, 5))]
    for device in devices:
        device.on_collect = meet
    trace = saturated(devices, Limit(iterations=20, duration=0.1), StopRequest())
    starts = [query.h2d_start for query in trace.queries]
    assert starts == sorted(starts)
    counts = [sum(query.stream == stream for query in trace.queries) for stream in range(3)]
    assert counts == [101, 51, 21]


def test_a_failure_in_one_stream_ends_all_and_is_raised() -> None:
    def fail(device: Device) -> None:
        raise KeyError("the second stream")

    devices = [Device(1, stream=0), Device(1, stream=1)]
    devices[1].on_collect = fail
    with pytest.raises(KeyError, match="the second stream"):
        saturated(devices, Limit(iterations=10**9), StopRequest())


def test_the_wall_time_is_from_the_first_begin_to_the_last_end() -> None:
    overlapping = (computed(5, 30), computed(6, 10), computed(7, 20))
    assert Trace(overlapping, 0).wall_milliseconds == 25


@dataclass
class Clock:
    """A clock that goes on by what is slept and computed, and by a microsecond where it is looked at."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def perf_counter(self) -> float:
        self.now += 1e-6
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Camera:
    """A runner whose queries take as long as listed, the last again and again."""

    depth = 1
    settings: Mapping[str, Any] = {}

    def __init__(self, clock: Clock, *milliseconds: float) -> None:
        self.clock, self.milliseconds, self.number = clock, milliseconds, 0
        self.on_submit: Callable[[int], None] = lambda number: None

    def submit(self) -> None:
        self.on_submit(self.number)
        self.start = self.clock.now
        self.clock.now += self.milliseconds[min(self.number, len(self.milliseconds) - 1)] / 1e3
        self.number += 1

    def collect(self) -> Query:
        return computed(self.start * 1e3, self.clock.now * 1e3)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(loop, "time", clock)
    return clock


def close(value: float) -> Any:
    """The clock goes on by microseconds while it is looked at."""
    return pytest.approx(value, abs=0.1)


def of_100_fps(clock: Clock, *milliseconds: float, stop: StopRequest | None = None, **limit: Any) -> Paced:
    return paced(Camera(clock, *milliseconds), 100, Limit(**limit), stop or StopRequest())


def test_each_image_of_a_camera_is_waited_for(clock: Clock) -> None:
    found = of_100_fps(clock, 4, iterations=5)
    assert [frame.arrival for frame in found.frames] == [0, 10, 20, 30, 40]
    assert [frame.latency for frame in found.frames] == [close(4)] * 5
    assert [frame.query.compute for frame in found.frames] == [close(4)] * 5
    assert (found.missed, found.dropped, found.warm_up) == (0, 0, 0)


def test_an_image_that_is_ready_after_the_next_has_come_missed_its_deadline(clock: Clock) -> None:
    found = of_100_fps(clock, 4, 13, 4, iterations=5)
    assert [frame.latency for frame in found.frames] == [close(4), close(13), close(7), close(4), close(4)]
    assert (found.missed, found.dropped) == (1, 0)


def test_images_that_come_while_one_is_processed_are_replaced_by_the_newest(clock: Clock) -> None:
    found = of_100_fps(clock, 35, 4, iterations=6)
    assert [frame.arrival for frame in found.frames] == [0, 30, 40, 50]
    assert [frame.latency for frame in found.frames] == [close(35), close(9), close(4), close(4)]
    assert (found.missed, found.dropped) == (1, 2)


def test_under_overload_every_image_is_processed_late_or_dropped(clock: Clock) -> None:
    found = of_100_fps(clock, 25, iterations=1, duration=1.0)
    assert len(found.frames) + found.dropped == 100
    assert found.missed == len(found.frames) == 40


def test_images_of_the_warm_up_are_processed_and_not_counted(clock: Clock) -> None:
    found = of_100_fps(clock, 4, iterations=3, warm_up=50)
    assert found.warm_up == 5
    assert [frame.arrival for frame in found.frames] == [50, 60, 70]


def test_a_warm_up_that_takes_all_the_time_leaves_one_image(clock: Clock) -> None:
    found = of_100_fps(clock, 5000, iterations=3, warm_up=50)
    assert [frame.arrival for frame in found.frames] == [0]
    assert (found.missed, found.dropped, found.warm_up) == (1, 3, 0)


@given(
    st.lists(st.floats(0.01, 80), min_size=1, max_size=20),
    st.integers(1, 50),
    st.floats(0, 0.5),
    st.floats(0, 100),
)
def test_no_image_is_lost(milliseconds: list[float], iterations: int, duration: float, warm_up: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(loop, "time", clock)
        found = of_100_fps(clock, *milliseconds, iterations=iterations, duration=duration, warm_up=warm_up)
    came = max(iterations, round(duration * 1e3 / 10))
    first = round(warm_up / 10)
    counted = sum(frame.arrival >= 10 * first for frame in found.frames)
    assert counted + found.dropped == came
    assert found.frames and found.missed == sum(frame.latency > 10 for frame in found.frames)


@pytest.mark.parametrize("warm_up", [0.0, 1e6])
def test_ctrl_c_ends_a_camera_too(clock: Clock, warm_up: float) -> None:
    stop, camera = StopRequest(), Camera(clock, 4)

    def interrupt(number: int) -> None:
        stop.wanted = number == 2

    camera.on_submit = interrupt
    found = paced(camera, 100, Limit(iterations=10**6, warm_up=warm_up), stop)
    assert camera.number == 3
    assert found.warm_up + len(found.frames) == 3
    assert len(found.frames) == (1 if warm_up else 3)


def test_ctrl_c_is_heard_while_a_slow_camera_is_waited_for(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, sleep = StopRequest(), clock.sleep

    def sleep_and_interrupt(seconds: float) -> None:
        sleep(seconds)
        stop.wanted = True

    monkeypatch.setattr(clock, "sleep", sleep_and_interrupt)
    found = paced(Camera(clock, 4), 0.001, Limit(iterations=5), stop)
    assert len(found.frames) == 1
    assert sum(clock.slept) <= 0.2
