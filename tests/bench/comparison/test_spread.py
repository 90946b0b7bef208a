from __future__ import annotations

import pytest

from edgedet.bench.comparison.spread import build_spread


def test_builds_that_differ_are_told_from_runs_that_do() -> None:
    base = [10.0, 12.0, 11.0]
    sittings = []
    for number in range(30):
        run = 1 + 0.001 * (number % 5)
        sittings.append((base[number % 3] * run, base[(number + 1) % 3] * run, 20 * run))
    found = build_spread(sittings, 3, 1)
    assert found["base"].milliseconds == pytest.approx([10.02, 12.024, 11.022], rel=1e-3)
    assert found["base"].build_share == pytest.approx(2 / 11, rel=0.01)
    assert found["base"].run_share == pytest.approx(0.002, rel=0.6)
    assert found["head"].build_share == 0 and len(found["head"].milliseconds) == 1


def test_equal_builds_of_an_unsteady_machine_differ_by_the_run_alone() -> None:
    runs = [1.0, 1.1, 0.9, 1.05]
    sittings = [(10 * run, 10 * run, 10 * run) for run in runs for _ in range(4)]
    found = build_spread(sittings, 2, 2)
    for arm in ("base", "head"):
        assert found[arm].build_share == pytest.approx(0, abs=1e-9)
        assert 0.04 < found[arm].run_share < 0.2


def test_builds_that_had_no_sitting_yet_are_left_out() -> None:
    found = build_spread([(1.0, 2.0, 3.0)], 5, 4)
    assert found["base"].milliseconds == (1, 2) and found["head"].milliseconds == (3,)
    assert found["head"].run_share == 0
