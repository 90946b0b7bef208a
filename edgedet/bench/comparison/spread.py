"""How much of the differences between measurements is the build's, and how much the run's."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from edgedet.bench.comparison.sitting import AGAIN, ARMS, BASE, HEAD


@dataclass(frozen=True)
class BuildSpread:
    """Builds of one model beside each other.

    Attributes:
        milliseconds: the median of each build's sittings.
        build_share: how far the builds' medians lie apart: (largest - smallest) / median.
        run_share: the same of one build's sittings: the median, over builds, of their interquartile range / median.
    """

    milliseconds: tuple[float, ...]
    build_share: float
    run_share: float


def build_spread(sittings: Sequence[Sequence[float]], base_builds: int, head_builds: int) -> dict[str, BuildSpread]:
    """The spread of base and head.

    Args:
        sittings: medians of `base`, `base again` and `head` of each sitting, in milliseconds; sitting by sitting the
            next build was loaded, and for `base again` the one behind it.
        base_builds, head_builds: how many there are.
    """
    by_build: dict[str, list[list[float]]] = {
        BASE: [[] for _ in range(base_builds)],
        HEAD: [[] for _ in range(head_builds)],
    }
    for number, medians in enumerate(sittings):
        of = dict(zip(ARMS, medians, strict=True))
        by_build[BASE][number % base_builds].append(of[BASE])
        by_build[BASE][(number + 1) % base_builds].append(of[AGAIN])
        by_build[HEAD][number % head_builds].append(of[HEAD])
    return {arm: _spread([times for times in builds if times]) for arm, builds in by_build.items()}


def _spread(builds: Sequence[Sequence[float]]) -> BuildSpread:
    medians = [statistics.median(times) for times in builds]
    middle = statistics.median(medians)
    runs = [_interquartile_range(times) / statistics.median(times) for times in builds]
    return BuildSpread(tuple(medians), (max(medians) - min(medians)) / middle, statistics.median(runs))


def _interquartile_range(times: Sequence[float]) -> float:
    if len(times) < 2:
        return 0.0
    lower, _, upper = statistics.quantiles(times, n=4, method="inclusive")
    return upper - lower
