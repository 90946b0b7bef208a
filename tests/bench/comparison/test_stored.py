from __future__ import annotations

import numpy as np
import pytest

from edgedet.bench.comparison.compare import Comparison
from edgedet.bench.comparison.stored import BLOCKS, FEWEST_QUERIES, compare_stored
from edgedet.errors import EdgedetError

ALLOWANCE = 0.1


def latencies(milliseconds: float, seed: int, count: int = 600) -> list[float]:
    """Of a run: noise of its own, bursts, and a slow wave."""
    random = np.random.default_rng(seed)
    wave = 1 + 0.01 * np.sin(np.arange(count) / 40)
    return (milliseconds * wave * np.exp(random.normal(0, 0.02, count)) * (1 + (random.random(count) < 0.02))).tolist()


def compared(base: list[float], head: list[float], tolerated: float = 0.03, disturbed: bool = False) -> Comparison:
    return compare_stored(base, head, tolerated=tolerated, between_runs=ALLOWANCE, seconds=2.5, disturbed=disturbed)


def word(ratio: float, tolerated: float = 0.03, disturbed: bool = False) -> str:
    return compared(latencies(10, 0), latencies(10 * ratio, 1), tolerated, disturbed).verdict.word


def test_beyond_tolerance_and_allowance_it_is_slower() -> None:
    beyond = (1 + ALLOWANCE) * 1.03
    assert word(beyond * 1.03) == "slower"
    assert word(beyond * 0.97) == "inconclusive"
    assert word(1.0) == "inconclusive", "two runs may differ by more than is tolerated"


def test_within_a_tolerance_wider_than_the_allowance_it_is_the_same() -> None:
    assert word(1.0, tolerated=2 * ALLOWANCE) == "same"
    assert word(1.0, tolerated=0.9 * ALLOWANCE) == "inconclusive"


def test_far_enough_below_it_passes() -> None:
    assert word(0.7) == "faster"


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_of_runs_that_were_disturbed_nothing_is_said(ratio: float) -> None:
    assert word(ratio, tolerated=0.5) != word(ratio, tolerated=0.5, disturbed=True) == "inconclusive"


@pytest.mark.parametrize("between", [-1, 1])
def test_two_runs_of_one_model_are_never_told_apart_within_the_allowance(between: int) -> None:
    ratio = (1 + 0.99 * ALLOWANCE) ** between
    found = [compared(latencies(10, seed), latencies(10 * ratio, 100 + seed)) for seed in range(30)]
    assert {one.verdict.word for one in found} == {"inconclusive"}


def test_queries_of_one_moment_count_once() -> None:
    """A tenth of a run that was disturbed moves two blocks of 24, not sixty queries of 600."""
    disturbed = latencies(10, 1)
    disturbed[:60] = [3 * latency for latency in disturbed[:60]]
    found = compared(latencies(10, 0), disturbed)
    assert abs(found.verdict.slowdown.estimate) < 0.02 and found.verdict.probability > 0.01
    assert found.verdict.sittings == BLOCKS and found.arms["head"].outliers > 50


def test_it_says_that_the_base_was_measured_earlier() -> None:
    found = compared(latencies(10, 0), latencies(10, 1))
    assert not found.in_turn and list(found.arms) == ["base", "head"] and found.seconds == 2.5
    assert found.verdict.noise_floor == ALLOWANCE and found.verdict.final


@pytest.mark.parametrize(
    ("base", "says"),
    [
        ([10.0] * (FEWEST_QUERIES - 1), f"{FEWEST_QUERIES - 1} queries of the base"),
        ([10.0] * 99 + [0.0], "a query of the base took 0 ms"),
        ([10.0] * 99 + [-4.0], "took -4 ms"),
    ],
)
def test_a_series_that_says_nothing_is_refused(base: list[float], says: str) -> None:
    with pytest.raises(EdgedetError, match=says):
        compared(base, latencies(10, 1))
