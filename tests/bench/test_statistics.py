from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedet.bench.statistics import percentile, statistics

TIMES = st.lists(st.floats(0.1, 1e3), min_size=1, max_size=300)


def test_of_a_hundred_times_the_99th_percentile_is_the_largest_as_in_trtexec() -> None:
    found = statistics([float(value) for value in range(100, 0, -1)], (50, 90, 95, 99))
    # In float32, 1 - 99/100 is a little less than a hundredth: of 100 times none is left out.
    assert found.percentiles == {50: 50, 90: 90, 95: 95, 99: 100}
    assert (found.min, found.max, found.mean, found.median) == (1, 100, 50.5, 50.5)


def test_one_time_is_everything() -> None:
    found = statistics([7.0], (0, 50, 100))
    assert (found.min, found.max, found.mean, found.median, found.variation) == (7, 7, 7, 7, 0)
    assert set(found.percentiles.values()) == {7.0}


def test_what_takes_no_time_varies_by_nothing() -> None:
    assert statistics([0.0, 0.0]).variation == 0


def test_the_variation_is_of_all_times_in_percent() -> None:
    assert statistics([1.0, 3.0]).variation == pytest.approx(50)


@given(TIMES, st.floats(0, 100))
def test_a_percentile_is_a_measured_time_of_about_that_rank(times: list[float], percentage: float) -> None:
    ordered = sorted(times)
    value = percentile(ordered, percentage)
    assert value in times
    rank = percentage / 100 * len(times)
    assert sum(time < value for time in times) <= rank + 1
    assert sum(time <= value for time in times) >= rank - 1


@given(TIMES)
def test_percentiles_grow_from_the_smallest_to_the_largest(times: list[float]) -> None:
    ordered = sorted(times)
    found = [percentile(ordered, percentage) for percentage in range(101)]
    assert found == sorted(found)
    assert (found[0], found[-1]) == (ordered[0], ordered[-1])


@given(TIMES, st.randoms())
def test_the_order_of_times_says_nothing(times: list[float], random: object) -> None:
    mixed = list(times)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert statistics(mixed) == statistics(times)


@given(TIMES)
def test_figures_are_those_of_numpy(times: list[float]) -> None:
    found = statistics(times)
    assert found.median == np.median(times)
    assert found.mean == pytest.approx(math.fsum(times) / len(times))
    assert found.variation == pytest.approx(100 * np.std(times) / np.mean(times), abs=1e-9)
