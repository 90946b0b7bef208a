"""Runs are compared within one protocol, and the front is of those that no other beats."""

from __future__ import annotations

from pathlib import Path

import pytest
from measurements import computed, protocol, result_of

from edgedet.bench.protocol import Protocol
from edgedet.bench.report.groups import by_protocol, pareto_front
from edgedet.bench.report.runs import Run


def run(name: str, of: Protocol | None = None) -> Run:
    return Run(name, Path(f"{name}.json"), result_of([computed(0, 2)], of=of), None)


def test_runs_of_one_protocol_are_one_group_in_the_order_in_which_they_come() -> None:
    batch = protocol(batch=4)
    groups = by_protocol([run("a"), run("b", batch), run("c"), run("d", batch), run("e", protocol(cpus=(3,)))])
    assert [[one.name for one in group] for group in groups] == [["a", "c", "e"], ["b", "d"]]


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([], []),
        ([(5, 0.5)], [0]),
        # Slower and worse, slower and as good, as fast and worse.
        ([(5, 0.5), (6, 0.4), (6, 0.5), (5, 0.4)], [0]),
        ([(9, 0.9), (5, 0.5), (7, 0.4), (7, 0.7)], [1, 3, 0]),
        ([(5, 0.5), (5, 0.5)], [0, 1]),
    ],
)
def test_the_front_is_what_no_other_beats_the_fastest_first(
    points: list[tuple[float, float]], front: list[int]
) -> None:
    assert pareto_front(points) == front
