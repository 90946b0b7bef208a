"""The rule of the verdict, branch by branch, and how often it errs where the truth is known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from edgedet.bench.comparison.interval import Interval
from edgedet.bench.comparison.verdict import FIRST_LOOK, LOOKS, Word, floor_of, is_look, judge, word_of

TOLERATED = 0.03
TRIALS = 400
LAST = 41
"""Sittings of a simulated comparison: a model of some milliseconds, and half a minute."""

Draw = Callable[[np.random.Generator], np.ndarray]


def normal(random: np.random.Generator) -> np.ndarray:
    return random.normal(0, 0.01, LAST)


def heavy_tailed(random: np.random.Generator) -> np.ndarray:
    return 0.008 * random.standard_t(2, LAST)


def with_outliers(random: np.random.Generator) -> np.ndarray:
    """A sitting in ten met something else on the machine."""
    hit = random.random(LAST) < 0.1
    return random.normal(0, 0.01, LAST) + hit * random.choice([-1, 1], LAST) * random.exponential(0.05, LAST)


def compared(draw: Draw, slowdown: float, seed: int) -> Word:
    """The word of a comparison that is watched as it grows."""
    random = np.random.default_rng(seed)
    head, again = (draw(random) + math.log1p(slowdown)).tolist(), draw(random).tolist()
    for count in range(1, LAST + 1):
        if is_look(count) or count == LAST:
            verdict = judge(head[:count], again[:count], tolerated=TOLERATED, last=count == LAST)
            if verdict.final:
                return verdict.word
    raise AssertionError("the last look is final")


def words(draw: Draw, slowdown: float) -> Counter[Word]:
    return Counter(compared(draw, slowdown, seed) for seed in range(TRIALS))


@pytest.mark.parametrize("draw", [normal, heavy_tailed, with_outliers])
class TestErrors:
    def test_a_model_that_is_the_same_is_not_called_slower_or_faster(self, draw: Draw) -> None:
        found = words(draw, 0.0)
        assert found["slower"] + found["faster"] <= 0.01 * TRIALS
        assert found["same"] >= 0.95 * TRIALS

    def test_one_that_is_ten_percent_slower_is_found(self, draw: Draw) -> None:
        assert words(draw, 0.10)["slower"] == TRIALS

    def test_one_at_the_border_is_seldom_let_pass(self, draw: Draw) -> None:
        """Half of both errors, 1 %, and what chance adds."""
        found = words(draw, 1.001 * TOLERATED)
        assert found["same"] + found["faster"] <= 0.01 * TRIALS + 3 * math.sqrt(0.01 * TRIALS)
        assert found["slower"] >= 0.9 * TRIALS


def test_a_swap_makes_slower_faster() -> None:
    head = np.random.default_rng(0).normal(math.log(1.2), 0.01, 20)
    again = np.random.default_rng(1).normal(0, 0.01, 20).tolist()
    slower, faster = (judge(values.tolist(), again, tolerated=TOLERATED, last=False) for values in (head, -head))
    assert (slower.word, faster.word) == ("slower", "faster")
    assert 1 / (1 + slower.slowdown.estimate) == pytest.approx(1 + faster.slowdown.estimate)
    assert slower.probability == faster.probability


class TestRule:
    @pytest.mark.parametrize(
        ("low", "high", "clear", "last", "word"),
        [
            (0.031, 0.05, True, False, "slower"),
            (0.031, 0.05, False, False, "inconclusive"),
            (-0.02, 0.029, True, False, "same"),
            (0.01, 0.02, True, True, "same"),
            (0.01, 0.05, True, False, "inconclusive"),
            (0.01, 0.05, True, True, "slower"),
            (0.01, 0.05, False, True, "inconclusive"),
            (-0.01, 0.05, True, True, "inconclusive"),
            (-0.2, -0.05, True, False, "faster"),
            (-0.2, -0.05, False, False, "inconclusive"),
            (-0.05, -0.01, True, False, "inconclusive"),
            (-0.05, -0.01, True, True, "faster"),
            (-0.05, -0.01, False, True, "inconclusive"),
            (-0.0295, 0.0, True, False, "inconclusive"),
            (-0.029, 0.0, True, False, "same"),
        ],
    )
    def test_every_branch(self, low: float, high: float, clear: bool, last: bool, word: str) -> None:
        found = Interval((low + high) / 2, low, high)
        assert word_of(found, TOLERATED, clear=clear, last=last) == word

    def test_a_difference_that_the_base_has_to_itself_is_no_difference(self) -> None:
        head = np.random.default_rng(0).normal(0.05, 0.002, 20).tolist()
        quiet, noisy = ([spread * (-1) ** place for place in range(20)] for spread in (0.001, 0.08))
        assert judge(head, quiet, tolerated=TOLERATED, last=False).word == "slower"
        verdict = judge(head, noisy, tolerated=TOLERATED, last=False)
        assert verdict.word == "inconclusive" and not verdict.final
        assert verdict.noise_floor > verdict.slowdown.estimate

    def test_ranks_that_may_be_chance_are_no_proof(self) -> None:
        head = [0.1] * 11 + [-0.2]
        verdict = judge(head, [0.001, -0.001] * 6, tolerated=TOLERATED, last=False)
        assert verdict.probability > 0.001 and verdict.word == "inconclusive"

    @pytest.mark.parametrize("slowdown", [0.0, 0.5, -0.5])
    @pytest.mark.parametrize("last", [False, True])
    def test_few_sittings_say_nothing(self, slowdown: float, last: bool) -> None:
        few = judge([slowdown] * (FIRST_LOOK - 1), [0.0] * (FIRST_LOOK - 1), tolerated=TOLERATED, last=last)
        assert (few.word, few.final) == ("inconclusive", last)
        enough = judge([slowdown] * FIRST_LOOK, [0.0] * FIRST_LOOK, tolerated=TOLERATED, last=last)
        assert enough.word != "inconclusive" and enough.final

    def test_figures_are_shares_not_logarithms(self) -> None:
        verdict = judge([math.log(1.5)] * 12, [math.log(0.9)] * 12, tolerated=TOLERATED, last=False)
        assert verdict.slowdown.estimate == pytest.approx(0.5)
        assert verdict.noise.estimate == pytest.approx(-0.1) and verdict.noise_floor == pytest.approx(0.1)


def test_the_floor_is_the_farther_end() -> None:
    assert floor_of(Interval(0.0, -0.04, 0.01)) == floor_of(Interval(0.0, -0.02, 0.04)) == 0.04


def test_looks_grow_apart() -> None:
    assert LOOKS[0] == FIRST_LOOK and all(is_look(look) for look in LOOKS)
    ratios = [later / earlier for earlier, later in pairwise(LOOKS)]
    assert min(ratios) >= 1.5 and max(ratios) < 1.6
    assert not is_look(FIRST_LOOK - 1) and not is_look(LOOKS[-1] + 1)
