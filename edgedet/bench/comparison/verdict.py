"""What the times of two models say: faster, same, slower, or nothing yet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgedet.bench.comparison.interval import Interval, median_interval
from edgedet.bench.comparison.ranks import signed_rank_probability

Word = Literal["faster", "same", "slower", "inconclusive"]

ERROR_AT_LAST = 0.01
"""How often the interval of the last look may miss, both sides together."""

ERROR_BEFORE = 0.01
"""The same of all looks before it together, so that a head is wrongly called slower one time in a hundred at most."""

FIRST_LOOK = 12
"""Sittings before the first look: with fewer, no ranks are as improbable as a look's share of `ERROR_BEFORE`."""

GROWTH = 1.5
LOOKS_BEFORE = 11


@dataclass(frozen=True)
class Verdict:
    """What is known of a head's speed beside its base's.

    Attributes:
        word: `slower` or `faster` than the base by more than is tolerated, the `same` within it, or `inconclusive`.
        slowdown: head beside base: .03 is 3 % longer; with the interval that it lies in.
        noise: the same of the base beside itself: what a difference of nothing looks like on this machine.
        probability: of the signed-rank test, of such ranks by chance.
        tolerated: the slowdown that is.
        sittings: how many independent measurements it rests on.
        final: nothing more would change it.
    """

    word: Word
    slowdown: Interval
    noise: Interval
    probability: float
    tolerated: float
    sittings: int
    final: bool

    @property
    def noise_floor(self) -> float:
        """The largest difference that a model may have to itself here."""
        return floor_of(self.noise)


def judge(head: Sequence[float], again: Sequence[float], *, tolerated: float, last: bool) -> Verdict:
    """The verdict on what was measured so far.

    It is `slower` where the whole interval lies beyond what is tolerated, and `same` where it lies within. An interval
    across the border asks for more sittings; in the last look a head is `slower` that is proven slower than the base
    and not proven to be tolerable. So what passes is proven to be tolerable. `faster` mirrors `slower`. Neither is said
    of a difference that the base may have to itself, or whose ranks may be chance. Fewer sittings than `FIRST_LOOK` say
    nothing: of two, both medians lie on one side of the truth half of the time.

    Args:
        head: of each sitting, the logarithm of the head's time over the base's.
        again: the same of the base's second instance over its first.
        tolerated: slowdown, e.g. .03.
        last: whether there will be no further look.
    """
    error = ERROR_AT_LAST if last else ERROR_BEFORE / LOOKS_BEFORE
    slowdown, noise = (_as_share(median_interval(values, error=error)) for values in (head, again))
    probability = signed_rank_probability(head)
    clear = probability < error and abs(slowdown.estimate) > floor_of(noise)
    enough = len(head) >= FIRST_LOOK
    word = word_of(slowdown, tolerated, clear=clear, last=last) if enough else "inconclusive"
    return Verdict(word, slowdown, noise, probability, tolerated, len(head), last or word != "inconclusive")


def floor_of(noise: Interval) -> float:
    """The largest difference that a model may have to itself, by the interval of that difference."""
    return max(abs(noise.low), abs(noise.high))


def word_of(slowdown: Interval, tolerated: float, *, clear: bool, last: bool) -> Word:
    """The rule of `judge`.

    Args:
        slowdown: the head's, with its interval.
        tolerated: slowdown, e.g. .03.
        clear: whether it is more than noise.
        last: whether this is the last look.
    """
    gain = 1 - 1 / (1 + tolerated)
    if -gain < slowdown.low and slowdown.high < tolerated:
        return "same"
    if clear and slowdown.low > (0 if last else tolerated):
        return "slower"
    if clear and slowdown.high < (0 if last else -gain):
        return "faster"
    return "inconclusive"


def is_look(sittings: int) -> bool:
    """Whether to look after so many sittings: at few of them, each half as many again, so that chance has few tries."""
    return sittings in LOOKS


def _looks() -> tuple[int, ...]:
    looks = [FIRST_LOOK]
    while len(looks) < LOOKS_BEFORE:
        looks.append(math.ceil(looks[-1] * GROWTH))
    return tuple(looks)


LOOKS = _looks()


def _as_share(logarithms: Interval) -> Interval:
    return Interval(*(math.expm1(value) for value in (logarithms.estimate, logarithms.low, logarithms.high)))
