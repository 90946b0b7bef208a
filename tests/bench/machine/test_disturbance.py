"""Between two samples: what makes figures doubtful, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from edgedet.bench.machine.condition import Condition
from edgedet.bench.machine.disturbance import Disturbance, disturbances
from edgedet.bench.machine.limits import Limits
from edgedet.bench.machine.load import CpuTime
from edgedet.bench.machine.quota import Quota

LIMITS = Limits(megahertz={0: 2000, 1: 2000}, celsius={"cpu-thermal": 99})
QUIET = Condition(
    moment=100,
    megahertz={0: 2000, 1: 1990},
    celsius={"cpu-thermal": 60, "board": 98},
    throttle_counts={"CPU 0 core": 7, "over-current 3": 30},
    throttle_alerts=(),
    load_average=1,
    cpu_times={0: CpuTime(busy=500, idle=500, stolen=3), 1: CpuTime(busy=600, idle=400, stolen=0)},
    sibling_times={2: CpuTime(busy=50, idle=950, stolen=0)},
    pressure_seconds=20,
    own_seconds=40,
    involuntary_switches=100,
    run_queue_seconds=0.5,
    quota=Quota(periods=5, seconds=1),
)
SECONDS = 10.0


def later(seconds: float = SECONDS, **changes: Any) -> Condition:
    """After this process computed on both CPUs all the time."""
    worked = {
        "moment": QUIET.moment + seconds,
        "own_seconds": QUIET.own_seconds + 2 * seconds,
        "cpu_times": times(busy=seconds),
    }
    return QUIET.model_copy(update=worked | changes)


def times(*, busy: float, stolen: float = 0) -> dict[int, CpuTime]:
    """That each CPU has been busy and stolen for longer, in seconds."""
    return {
        cpu: CpuTime(busy=time.busy + busy, idle=time.idle, stolen=time.stolen + stolen)
        for cpu, time in QUIET.cpu_times.items()
    }


def found(after: Condition, limits: Limits = LIMITS) -> list[tuple[str, float]]:
    return [(disturbance.kind, disturbance.value) for disturbance in disturbances(QUIET, after, limits)]


def only(after: Condition) -> Disturbance:
    (one,) = disturbances(QUIET, after, LIMITS)
    return one


class TestOthers:
    def test_a_machine_of_its_own_is_not_disturbed(self) -> None:
        assert found(later()) == []

    def test_pressure_load_and_switches_alone_are_no_evidence(self) -> None:
        assert found(later(pressure_seconds=30, load_average=9, involuntary_switches=2000)) == []

    def test_time_that_others_took(self) -> None:
        one = only(later(own_seconds=50))
        assert one.kind == "busy" and one.value == pytest.approx(0.5)
        assert one.what == "others took 50% of the measured CPUs' time"

    def test_a_little_is_as_it_always_is(self) -> None:
        assert found(later(own_seconds=59.5)) == []
        assert found(later(own_seconds=59.3)) == [("busy", pytest.approx(0.035))]

    def test_ticks_are_too_coarse_for_a_short_time(self) -> None:
        """A tick of 10 ms, counted wrongly at both ends, is a large share of 0.1 s."""
        assert found(later(0.1, own_seconds=40.17)) == []
        assert found(later(0.1, own_seconds=40.1)) == [("busy", pytest.approx(0.5))]

    def test_more_of_its_own_on_other_cpus_is_not_less_than_nothing(self) -> None:
        assert found(later(own_seconds=80)) == []

    def test_waiting_for_a_cpu(self) -> None:
        one = only(later(run_queue_seconds=2.5))
        assert (one.kind, one.value) == ("busy", pytest.approx(0.1))
        assert one.what == "threads waited for a CPU 10% of the time"
        assert found(later(run_queue_seconds=0.1)) == [], "a thread that waited long has ended"
        assert found(later(run_queue_seconds=None)) == []

    def test_a_busy_hyperthread_beside_a_measured_one(self) -> None:
        one = only(later(sibling_times={2: CpuTime(busy=58, idle=952, stolen=0)}))
        assert (one.kind, one.value) == ("busy", pytest.approx(0.8)) and "CPU 2" in one.what
        assert found(later(sibling_times={2: CpuTime(busy=50.5, idle=952, stolen=0)})) == []

    def test_stolen_time(self) -> None:
        assert found(later(cpu_times=times(busy=9, stolen=1), own_seconds=58)) == [("stolen", pytest.approx(0.1))]
        assert found(later(cpu_times=times(busy=10, stolen=0.05))) == []
        assert found(later(0.1, cpu_times=times(busy=0.1, stolen=0.01))) == [], "ticks are too coarse for a short time"

    def test_a_cpu_that_was_switched_off_is_not_counted(self) -> None:
        assert found(later(cpu_times={0: times(busy=10)[0]}, megahertz={}, own_seconds=50)) == []


class TestHardware:
    def test_a_count_that_rose(self) -> None:
        one = only(later(throttle_counts={"CPU 0 core": 7, "over-current 3": 42}))
        assert (one.kind, one.value) == ("throttled", 12) and one.what.endswith("over-current 3")

    @pytest.mark.parametrize("place", ["before", "after"])
    def test_an_alert_at_either_end(self, place: str) -> None:
        alert = {"throttle_alerts": ("cpu-throttle-alert",)}
        before = QUIET.model_copy(update=alert) if place == "before" else QUIET
        (one,) = disturbances(before, later(**alert) if place == "after" else later(), LIMITS)
        assert one.kind == "throttled" and "cpu-throttle-alert" in one.what

    def test_the_gpus_reasons(self) -> None:
        (one,) = disturbances(QUIET, later(), LIMITS, gpu_throttle_reasons=("power limit",))
        assert one.kind == "throttled" and one.what.endswith("power limit")

    def test_a_container_without_cpu_time_left(self) -> None:
        one = only(later(quota=Quota(periods=25, seconds=2.5)))
        assert (one.kind, one.value) == ("quota", pytest.approx(0.15)) and "20 periods" in one.what
        assert found(later(quota=None)) == []

    def test_a_clock_that_fell(self) -> None:
        one = only(later(megahertz={0: 1850, 1: 1900}))
        assert (one.kind, one.value) == ("clock", pytest.approx(0.925))
        assert one.what == "the clock of CPU 0 fell from 2000 to 1850 MHz"

    def test_a_clock_far_below_the_highest(self) -> None:
        slow = {"megahertz": {0: 1200.0}}
        (one,) = disturbances(QUIET.model_copy(update=slow), later(**slow), LIMITS)
        assert (one.kind, one.value) == ("clock", pytest.approx(0.6)) and "may run at 2000" in one.what
        assert disturbances(QUIET.model_copy(update=slow), later(**slow), Limits(megahertz={}, celsius={})) == ()

    def test_a_zone_near_the_temperature_that_slows(self) -> None:
        assert found(later(celsius={"cpu-thermal": 94.5, "board": 98})) == [("hot", 94.5)]
        assert found(later(celsius={"cpu-thermal": 93.5, "board": 98})) == []

    def test_the_samples_are_in_order(self) -> None:
        with pytest.raises(ValueError, match="not later"):
            disturbances(later(), QUIET, LIMITS)
