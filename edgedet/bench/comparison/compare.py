"""Measures two models in turn until the verdict is known or the time is over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from time import monotonic
from typing import Any

import numpy as np

from edgedet.bench.comparison.sitting import AGAIN, ARMS, BASE, HEAD, Opener, Sitting, sit
from edgedet.bench.comparison.verdict import LOOKS, Verdict, is_look, judge
from edgedet.bench.statistics import Statistics, statistics
from edgedet.interrupt import deferred_interrupt
from edgedet.progress import Track, no_progress

TOLERATED = 0.03
TIME_LIMIT = 120.0

FAR = 3.0
"""Quartile distances beyond the quartiles from which a time is called an outlier (J. W. Tukey, 1977: "far out")."""


@dataclass(frozen=True)
class Arm:
    """The times of one instance.

    Attributes:
        latency: of all its queries, outliers included.
        outliers: how many of them are far out.
    """

    latency: Statistics
    outliers: int


@dataclass(frozen=True)
class Comparison:
    """Two models beside each other.

    Attributes:
        verdict: the last one.
        looks: every verdict on the growing data, the last one too.
        arms: `base`, `base again` and `head`; no `base again` where the base was measured earlier.
        sittings: of each, the medians in milliseconds of the three, in that order; none where the base was measured
            earlier.
        seconds: that it took.
        interrupted: whether someone stopped it.
    """

    verdict: Verdict
    looks: tuple[Verdict, ...]
    arms: Mapping[str, Arm]
    sittings: tuple[tuple[float, ...], ...]
    seconds: float
    interrupted: bool

    @property
    def in_turn(self) -> bool:
        """Whether both were measured now, in turn."""
        return bool(self.sittings)

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON can hold it."""
        arms = {
            name: {"latency": arm.latency.model_dump(mode="json"), "outliers": arm.outliers}
            for name, arm in self.arms.items()
        }
        return {**asdict(replace(self, arms={})), "arms": arms}


def compare(
    base: Opener,
    head: Opener,
    *,
    again: Opener | None = None,
    tolerated: float = TOLERATED,
    time_limit: float = TIME_LIMIT,
    track: Track = no_progress,
    clock: Callable[[], float] = monotonic,
) -> Comparison:
    """Which of two models is faster, beside the base once more: what a difference of nothing looks like.

    Sittings follow each other until the verdict is final or the time is over, never fewer than two.

    Args:
        base, head: load the models, once a sitting each.
        again: loads the base's second instance; None means as the first.
        tolerated: slowdown, e.g. .03.
        time_limit: seconds after which no sitting begins.
        track: watches the sittings, up to the next look.
        clock: tells seconds.
    """
    openers = {BASE: base, AGAIN: again or base, HEAD: head}
    sittings: list[Sitting] = []
    looks: list[Verdict] = []
    started = clock()
    with deferred_interrupt() as stop:
        for number in track(_numbers(looks), "comparing"):
            sittings.append(sit(openers, number))
            out_of_time = clock() - started >= time_limit and len(sittings) >= 2
            over = out_of_time or len(sittings) == LOOKS[-1]
            if is_look(len(sittings)) or over or stop.wanted:
                looks.append(_judge(sittings, tolerated, last=over))
            if over or stop.wanted:
                break
    return Comparison(
        looks[-1],
        tuple(looks),
        {arm: arm_of([time for sitting in sittings for time in sitting.times(arm)]) for arm in ARMS},
        tuple(tuple(sitting.median(arm) for arm in ARMS) for sitting in sittings),
        clock() - started,
        stop.wanted,
    )


def _numbers(looks: Sequence[Verdict]) -> Iterator[int]:
    """Of the sittings, until a look was final or all were taken."""
    for number in range(LOOKS[-1]):
        if looks and looks[-1].final:
            return
        yield number


def _judge(sittings: Iterable[Sitting], tolerated: float, *, last: bool) -> Verdict:
    pairs = [(sitting.head_over_base, sitting.base_over_itself) for sitting in sittings]
    heads, again = zip(*pairs, strict=True)
    return judge(heads, again, tolerated=tolerated, last=last)


def arm_of(times: Sequence[float]) -> Arm:
    """The statistics of an instance's queries, in milliseconds, and how many of them are outliers."""
    lower, upper = np.quantile(times, [0.25, 0.75])
    distance = FAR * (upper - lower)
    far = sum(not lower - distance <= time <= upper + distance for time in times)
    return Arm(statistics(times), far)
