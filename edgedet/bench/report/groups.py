"""Runs that may be compared, and those among them that no other beats."""

from __future__ import annotations

from collections.abc import Sequence

from edgedet.bench.protocol import differences
from edgedet.bench.report.runs import Run


def by_protocol(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs in groups of one protocol each, in the order in which the protocols first come."""
    groups: list[list[Run]] = []
    for run in runs:
        for group in groups:
            if not differences(group[0].result.protocol, run.result.protocol):
                group.append(run)
                break
        else:
            groups.append([run])
    return groups


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Which points no other beats: none is at least as fast and as accurate, and better in one of both.

    Args:
        points: latency, of which less is better, and accuracy, of which more is.

    Returns:
        Their places, the fastest first.
    """
    front = [
        place
        for place, (latency, accuracy) in enumerate(points)
        if not any(other[0] <= latency and other[1] >= accuracy and other != (latency, accuracy) for other in points)
    ]
    return sorted(front, key=lambda place: points[place])
