"""One sitting: the models are loaded anew and take turns for a moment."""

from __future__ import annotations

import math
import random as standard_random
import statistics
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Protocol

BASE, AGAIN, HEAD = "base", "base again", "head"
ARMS = (BASE, AGAIN, HEAD)

WARM_UP_RUNS = 3
RUNS = 3
"""Queries of a turn: few, so that all see the same moment of the machine; the median of three is not the first one,
which finds the caches full of another model's weights."""

ARM_MS = 200.0
FEWEST_TURNS, MOST_TURNS = 4, 16


class Timer(Protocol):
    """A loaded model whose queries are timed."""

    def times(self, count: int) -> list[float]:
        """Milliseconds of each of `count` queries, one after the other."""
        ...

    def close(self) -> None:
        """Gives back what it holds."""
        ...


Opener = Callable[[int], Timer]
"""Loads a model, given the number of the sitting."""


@dataclass(frozen=True)
class Sitting:
    """What was measured in one sitting.

    Attributes:
        turns: milliseconds of the queries, by arm and turn; turns of one number followed each other.
    """

    turns: Mapping[str, tuple[tuple[float, ...], ...]]

    def times(self, arm: str) -> list[float]:
        """Of all queries of an arm, in milliseconds."""
        return [time for turn in self.turns[arm] for time in turn]

    def median(self, arm: str) -> float:
        """Of all queries of an arm, in milliseconds."""
        return statistics.median(self.times(arm))

    @property
    def head_over_base(self) -> float:
        """Logarithm of the head's time over the base's: the median, over turns, of the ratio of their medians.

        What changes between turns changes both sides. Each turn takes one of the base's two instances, by turns: where
        head and base are alike, either may then be the slower one as well, however skewed their times are. Against the
        mean of both instances a head of the same speed would look slower on a machine that is mostly busy.
        """
        ratios = [math.log(head / (base, again)[turn % 2]) for turn, (base, again, head) in enumerate(self._medians())]
        return statistics.median(ratios)

    @property
    def base_over_itself(self) -> float:
        """The same of the base's second instance over its first."""
        return statistics.median(math.log(again / base) for base, again, _ in self._medians())

    def _medians(self) -> list[tuple[float, ...]]:
        """Of each turn, in the order of `ARMS`."""
        medians = [[statistics.median(turn) for turn in self.turns[arm]] for arm in ARMS]
        return list(zip(*medians, strict=True))


def sit(openers: Mapping[str, Opener], number: int) -> Sitting:
    """Loads each arm's model anew, lets them take turns, and closes them.

    How fast a model is depends by about a percent on where its memory came to lie. Loaded anew each time, that is
    chance like any other, and not a difference that every run of one process repeats. Orders are drawn by chance, the
    same for the same number.

    Args:
        openers: one for each of `ARMS`.
        number: of the sitting, from 0.
    """
    random = standard_random.Random(number)
    turns: dict[str, list[tuple[float, ...]]] = {arm: [] for arm in ARMS}
    with ExitStack() as opened:
        timers = {arm: opened.enter_context(closing(openers[arm](number))) for arm in _shuffled(random)}
        warm = {arm: timer.times(WARM_UP_RUNS) for arm, timer in timers.items()}
        for _ in range(_turns(max(map(statistics.median, warm.values())))):
            for arm in _shuffled(random):
                turns[arm].append(tuple(timers[arm].times(RUNS)))
    return Sitting({arm: tuple(found) for arm, found in turns.items()})


def _shuffled(random: standard_random.Random) -> list[str]:
    return random.sample(ARMS, len(ARMS))


def _turns(milliseconds: float) -> int:
    """So many that each arm is measured for about `ARM_MS`."""
    return min(max(round(ARM_MS / (RUNS * milliseconds)), FEWEST_TURNS), MOST_TURNS)
