"""What happened to the machine while it was measured that makes the figures doubtful."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, TypeVar

from edgedet.bench.machine.condition import Condition
from edgedet.bench.machine.limits import Limits
from edgedet.bench.machine.load import TICK_SECONDS
from edgedet.config import Frozen

Key = TypeVar("Key", int, str)

BUSY_SHARE = 0.03
"""Of the measured CPUs' time. With two CPUs and nothing else to do, the kernel and daemons take up to 0.02 of it; a
program that computes on the same CPU takes 0.5, and what is measured waits as long. One at the lowest priority takes
0.02, and the median does not notice."""

SIBLING_SHARE = 0.2
"""Of a hyperthread's time: for as long, its twin shares the units of the core. Chosen, not measured."""

STOLEN_SHARE = 0.01
"""Of the measured CPUs' time: what a hypervisor takes is taken from the latency, in slices of milliseconds."""

TICKS = 2
"""Times of a CPU are counted in ticks, and one end of each can be wrong by one: less says nothing."""

CLOCK_CHANGE = 0.05
"""A clock that fell by more moves a latency more than the differences between builds that are worth a word."""

CLOCK_SHARE = 0.7
"""Of the highest clock that the settings allow. Chosen: the highest is that of one core alone, and that all cores
together stay some tenths below is no fault."""

CELSIUS_BELOW_TRIP = 5.0
"""So near, the next minutes decide whether the machine is made slower. Chosen, not measured."""


class Disturbance(Frozen):
    """One reason to doubt figures.

    Attributes:
        kind: `busy` (others ran on the measured CPUs), `stolen` (the hypervisor ran another machine), `throttled` (the
            hardware saved itself), `quota` (the container had used up its CPU time), `clock` or `hot`.
        what: what was seen.
        value: a share of the measured time (`busy`, `stolen`, `quota`), a count (`throttled`), the clock as a share of
            what it was or may be (`clock`), or degrees Celsius (`hot`).
    """

    kind: Literal["busy", "stolen", "throttled", "quota", "clock", "hot"]
    what: str
    value: float


def disturbances(
    before: Condition, after: Condition, limits: Limits, *, gpu_throttle_reasons: Iterable[str] = ()
) -> tuple[Disturbance, ...]:
    """What happened between two samples of the same CPUs; empty where nothing is known to have.

    The load average, involuntary switches and pressure are no evidence: the first two hardly tell a machine at rest
    from one where two programs share the CPU, and the last is of CPUs that nobody measured, too.

    Args:
        before, after: taken when the clocks were up, at the begin and the end.
        limits: of the same CPUs.
        gpu_throttle_reasons: why the GPU was slower meanwhile, as `edgedet.bench.machine.power.Power` has them.

    Raises:
        ValueError: `after` is not later.
    """
    if after.moment <= before.moment:
        raise ValueError("the second sample is not later than the first")
    return (
        *_busy(before, after),
        *_stolen(before, after),
        *_throttled(before, after, gpu_throttle_reasons),
        *_quota(before, after),
        *_clock(before, after, limits),
        *_hot(after, limits),
    )


def _busy(before: Condition, after: Condition) -> Iterator[Disturbance]:
    elapsed = after.moment - before.moment
    ran = [after.cpu_times[cpu].busy - before.cpu_times[cpu].busy for cpu in _shared(before.cpu_times, after.cpu_times)]
    if ran:
        others = sum(ran) - (after.own_seconds - before.own_seconds)
        share = others / (elapsed * len(ran))
        if share > BUSY_SHARE and others > TICKS * TICK_SECONDS * len(ran):
            yield Disturbance(kind="busy", what=f"others took {share:.0%} of the measured CPUs' time", value=share)
    if before.run_queue_seconds is not None and after.run_queue_seconds is not None:
        share = (after.run_queue_seconds - before.run_queue_seconds) / (elapsed * max(len(ran), 1))
        if share > BUSY_SHARE:
            yield Disturbance(kind="busy", what=f"threads waited for a CPU {share:.0%} of the time", value=share)
    for cpu in _shared(before.sibling_times, after.sibling_times):
        took = after.sibling_times[cpu].busy - before.sibling_times[cpu].busy
        if took / elapsed > SIBLING_SHARE and took > TICKS * TICK_SECONDS:
            what = f"CPU {cpu}, which shares a core with a measured one, was busy {took / elapsed:.0%} of the time"
            yield Disturbance(kind="busy", what=what, value=took / elapsed)


def _stolen(before: Condition, after: Condition) -> Iterator[Disturbance]:
    cpus = _shared(before.cpu_times, after.cpu_times)
    stolen = sum(after.cpu_times[cpu].stolen - before.cpu_times[cpu].stolen for cpu in cpus)
    share = stolen / ((after.moment - before.moment) * max(len(cpus), 1))
    if share > STOLEN_SHARE and stolen > TICKS * TICK_SECONDS:
        what = f"the hypervisor took {share:.1%} of the measured CPUs' time for other machines"
        yield Disturbance(kind="stolen", what=what, value=share)


def _throttled(before: Condition, after: Condition, gpu_reasons: Iterable[str]) -> Iterator[Disturbance]:
    for name in _shared(before.throttle_counts, after.throttle_counts):
        times = after.throttle_counts[name] - before.throttle_counts[name]
        if times > 0:
            yield Disturbance(kind="throttled", what=f"the hardware made itself slower: {name}", value=times)
    for name in sorted({*before.throttle_alerts, *after.throttle_alerts}):
        yield Disturbance(kind="throttled", what=f"the hardware is slower than it can be: {name}", value=1)
    for reason in gpu_reasons:
        yield Disturbance(kind="throttled", what=f"the GPU is slower than it can be: {reason}", value=1)


def _quota(before: Condition, after: Condition) -> Iterator[Disturbance]:
    if before.quota is None or after.quota is None or after.quota.periods <= before.quota.periods:
        return
    periods = after.quota.periods - before.quota.periods
    share = (after.quota.seconds - before.quota.seconds) / (after.moment - before.moment)
    what = f"the container had used up its CPU time in {periods} periods: {share:.1%} of the time, over all CPUs"
    yield Disturbance(kind="quota", what=what, value=share)


def _clock(before: Condition, after: Condition, limits: Limits) -> Iterator[Disturbance]:
    for cpu in _shared(before.megahertz, after.megahertz):
        first, last = before.megahertz[cpu], after.megahertz[cpu]
        if last < first * (1 - CLOCK_CHANGE):
            yield Disturbance(
                kind="clock", what=f"the clock of CPU {cpu} fell from {first:.0f} to {last:.0f} MHz", value=last / first
            )
        highest = limits.megahertz.get(cpu, 0)
        if last < highest * CLOCK_SHARE:
            what = f"CPU {cpu} runs at {last:.0f} MHz and may run at {highest:.0f}"
            yield Disturbance(kind="clock", what=what, value=last / highest)


def _hot(after: Condition, limits: Limits) -> Iterator[Disturbance]:
    for zone in _shared(after.celsius, limits.celsius):
        celsius, trip = after.celsius[zone], limits.celsius[zone]
        if celsius >= trip - CELSIUS_BELOW_TRIP:
            what = f"{zone} has {celsius:.0f} degrees Celsius; at {trip:.0f} the machine is made slower"
            yield Disturbance(kind="hot", what=what, value=celsius)


def _shared(one: Mapping[Key, Any], other: Mapping[Key, Any]) -> list[Key]:
    """What both have: CPUs and zones can be switched off meanwhile."""
    return [key for key in one if key in other]
