"""Comparisons of timers whose times are known, on a clock that they move."""

from __future__ import annotations

import json
import math
import signal
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edgedet.bench.comparison.compare import Comparison, compare
from edgedet.bench.comparison.sitting import AGAIN, ARMS, BASE, FEWEST_TURNS, HEAD, MOST_TURNS, RUNS, Opener, sit
from edgedet.bench.comparison.verdict import FIRST_LOOK, LOOKS


class Machine:
    """A clock that queries move, and what was asked in which order.

    Attributes:
        seconds: since its start.
        calls: `open`, `times` or `close`, with the arm.
        speed: by which every query is slowed down at the moment.
    """

    def __init__(self, speed: Callable[[float], float] = lambda seconds: 1.0) -> None:
        self.seconds = 0.0
        self.calls: list[tuple[str, str]] = []
        self.speed = speed
        self.random = np.random.default_rng(0)

    def opener(self, arm: str, milliseconds: float, noise: float = 0.01) -> Opener:
        """Of a model; each time it is loaded it is slower or faster by chance."""

        def load(number: int) -> FakeTimer:
            self.calls.append(("open", arm))
            return FakeTimer(self, arm, milliseconds * math.exp(self.random.normal(0, noise)))

        return load

    def compared(self, head: float, base: float = 10.0, noise: float = 0.01, **options: float) -> Comparison:
        """A comparison of models that take so many milliseconds."""
        one, again, other = (self.opener(arm, time, noise) for arm, time in ((BASE, base), (AGAIN, base), (HEAD, head)))
        return compare(one, other, again=again, clock=lambda: self.seconds, **options)


class FakeTimer:
    def __init__(self, machine: Machine, arm: str, milliseconds: float) -> None:
        self._machine, self._arm, self._milliseconds = machine, arm, milliseconds

    def times(self, count: int) -> list[float]:
        self._machine.calls.append(("times", self._arm))
        found = []
        for _ in range(count):
            found.append(self._milliseconds * self._machine.speed(self._machine.seconds))
            self._machine.seconds += found[-1] / 1e3
        return found

    def close(self) -> None:
        self._machine.calls.append(("close", self._arm))


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before


class TestVerdicts:
    @pytest.mark.parametrize(("head", "word"), [(10.0, "same"), (12.0, "slower"), (8.0, "faster")])
    def test_what_is_clear_is_decided_at_the_first_look(self, head: float, word: str) -> None:
        found = Machine().compared(head)
        assert found.verdict.word == word and found.verdict.final and not found.interrupted
        assert len(found.sittings) == FIRST_LOOK and len(found.looks) == 1
        assert found.verdict.slowdown.low < head / 10 - 1 < found.verdict.slowdown.high

    def test_what_is_near_the_border_is_measured_for_longer(self) -> None:
        found = Machine().compared(10.22, noise=0.02, time_limit=1000)
        assert found.verdict.word == "same"
        assert len(found.sittings) > FIRST_LOOK and len(found.sittings) in LOOKS
        assert [look.sittings for look in found.looks] == [look for look in LOOKS if look <= len(found.sittings)]
        assert all(look.word == "inconclusive" and not look.final for look in found.looks[:-1])

    def test_a_slow_drift_of_the_machine_is_no_difference(self) -> None:
        found = Machine(speed=lambda seconds: 1 + seconds / 10).compared(10.0, time_limit=1000)
        medians = [base for base, _, _ in found.sittings]
        assert max(medians) > 1.3 * min(medians)
        assert found.verdict.word == "same"

    def test_a_burst_in_the_middle_of_a_comparison_is_no_difference(self) -> None:
        machine = Machine(speed=lambda seconds: 2.0 if 3.0 < seconds < 3.5 else 1.0)
        assert machine.compared(10.0).verdict.word == "same"

    def test_a_head_that_gains_by_being_asked_last_gains_nothing(self) -> None:
        """Which arm comes first, second and third is drawn for each turn."""
        machine = Machine()
        machine.compared(10.0)
        orders = [tuple(arm for what, arm in machine.calls[start : start + 3]) for start in range(0, 3000, 3)]
        turns = Counter(order for order in orders if len(set(order)) == 3)
        assert len(turns) == 6


class TestTime:
    def test_the_last_look_comes_when_the_time_is_over(self) -> None:
        found = Machine().compared(10.3, noise=0.02, time_limit=10.5)
        assert found.seconds >= 10.5 and len(found.sittings) not in LOOKS
        assert found.verdict.final and found.verdict.sittings == len(found.sittings)

    def test_a_proven_slowdown_near_the_border_is_slower_at_last(self) -> None:
        found = Machine().compared(10.35, noise=0.005, time_limit=15)
        assert found.looks[0].word in ("slower", "inconclusive") and found.verdict.word == "slower"

    def test_no_sitting_begins_after_it_but_two_are_taken(self) -> None:
        found = Machine().compared(10.0, time_limit=0.001)
        assert len(found.sittings) == 2
        assert (found.verdict.word, found.verdict.final) == ("inconclusive", True)

    def test_however_much_there_is_the_number_of_sittings_is_bounded(self) -> None:
        machine = Machine()
        found = machine.compared(1030.0, base=1000.0, noise=0.2, time_limit=1e9)
        assert len(found.sittings) == LOOKS[-1] and found.verdict.final


class TestInterrupt:
    def test_what_was_known_until_then_is_given(self) -> None:
        def interrupting(seconds: float) -> float:
            if seconds > 2 and not sent:
                sent.append(True)
                signal.raise_signal(signal.SIGINT)
            return 1.0

        sent: list[bool] = []
        machine = Machine(interrupting)
        found = machine.compared(10.0)
        assert found.interrupted and 2 <= len(found.sittings) < FIRST_LOOK
        assert found.verdict.word == "inconclusive" and found.verdict.sittings == len(found.sittings)
        assert opened_and_closed(machine) == len(found.sittings)

    def test_in_the_first_sitting(self) -> None:
        def interrupting(seconds: float) -> float:
            if seconds == 0:
                signal.raise_signal(signal.SIGINT)
            return 1.0

        found = Machine(interrupting).compared(20.0)
        assert found.interrupted and len(found.sittings) == 1 and found.verdict.word == "inconclusive"


def opened_and_closed(machine: Machine) -> int:
    """How often every arm was loaded, and closed as often."""
    counts = Counter(call for call in machine.calls if call[0] != "times")
    (count,) = set(counts.values())
    assert set(counts) == {(what, arm) for what in ("open", "close") for arm in ARMS}
    return count


class TestSittings:
    def test_models_are_loaded_anew_for_each(self) -> None:
        machine = Machine()
        found = machine.compared(10.0)
        assert opened_and_closed(machine) == len(found.sittings)

    @pytest.mark.parametrize("failing", ARMS)
    @pytest.mark.parametrize("when", ["open", "times"])
    def test_all_are_closed_where_one_fails(self, failing: str, when: str) -> None:
        machine = Machine()

        def does_not_run(count: int) -> list[float]:
            raise RuntimeError("does not run")

        def broken(number: int) -> FakeTimer:
            if when == "open":
                raise RuntimeError("does not load")
            timer = machine.opener(failing, 10.0)(number)
            timer.times = does_not_run
            return timer

        openers = {arm: broken if arm == failing else machine.opener(arm, 10.0) for arm in ARMS}
        with pytest.raises(RuntimeError, match="does not"):
            sit(openers, 0)
        opened, closed = (sorted(arm for what, arm in machine.calls if what == kind) for kind in ("open", "close"))
        assert opened == closed and (when == "open" or len(opened) == 3)

    @pytest.mark.parametrize(("milliseconds", "turns"), [(0.01, MOST_TURNS), (10.0, 7), (5000.0, FEWEST_TURNS)])
    def test_a_moment_each_whatever_a_query_takes(self, milliseconds: float, turns: int) -> None:
        machine = Machine()
        found = sit({arm: machine.opener(arm, milliseconds, 0.0) for arm in ARMS}, 0)
        for arm in ARMS:
            assert len(found.turns[arm]) == turns and {len(turn) for turn in found.turns[arm]} == {RUNS}
            assert found.median(arm) == pytest.approx(milliseconds)

    def test_the_same_number_gives_the_same_order_and_another_another(self) -> None:
        def order(number: int) -> list[tuple[str, str]]:
            machine = Machine()
            sit({arm: machine.opener(arm, 10.0) for arm in ARMS}, number)
            return machine.calls

        assert order(3) == order(3) != order(4)

    def test_differences_are_those_within_a_turn(self) -> None:
        """A machine that becomes ten times slower changes none of them."""
        machine = Machine(speed=lambda seconds: 1 + 3 * seconds)
        openers = {arm: machine.opener(arm, time, 0.0) for arm, time in ((BASE, 1.0), (AGAIN, 1.1), (HEAD, 2.0))}
        found = sit(openers, 0)
        assert found.times(BASE)[-1] > 1.3 * found.times(BASE)[0]
        assert found.head_over_base == pytest.approx(math.log(2 / math.sqrt(1.1)), abs=0.03)
        assert found.base_over_itself == pytest.approx(math.log(1.1), abs=0.03)


def test_outliers_are_counted_and_kept() -> None:
    found = Machine(speed=lambda seconds: 50.0 if 1.0 < seconds < 1.3 else 1.0).compared(10.0)
    assert sum(arm.outliers for arm in found.arms.values()) > 0
    assert max(arm.latency.max for arm in found.arms.values()) > 400


def test_the_base_is_its_own_second_instance_where_there_is_no_other() -> None:
    machine = Machine()
    found = compare(machine.opener(BASE, 10.0), machine.opener(HEAD, 12.0), clock=lambda: machine.seconds)
    assert Counter(call for call in machine.calls if call[0] == "open") == {
        ("open", BASE): 2 * len(found.sittings),
        ("open", HEAD): len(found.sittings),
    }


def test_it_can_be_written_as_json() -> None:
    found = Machine().compared(12.0)
    record = json.loads(json.dumps(found.to_dict()))
    assert record["verdict"]["word"] == "slower" and record["looks"][-1] == record["verdict"]
    assert list(record["arms"]) == list(ARMS)
    assert record["arms"]["head"]["latency"]["median"] == found.arms["head"].latency.median
    assert len(record["sittings"]) == len(found.sittings) and found.in_turn
