from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from edgedet.interrupt import deferred_interrupt, in_thread

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[dict[int, object]]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield {int(number): handler for number, handler in before.items()}
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_only_asks(number: signal.Signals) -> None:
    with deferred_interrupt() as stop:
        assert not stop.wanted
        signal.raise_signal(number)
        assert stop.wanted


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", SIGNALS)
def test_the_second_interrupts_at_once(first: signal.Signals, second: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt), deferred_interrupt() as stop:
        signal.raise_signal(first)
        signal.raise_signal(second)
        pytest.fail("still running")
    assert stop.wanted


@pytest.mark.parametrize("error", [None, ValueError(), KeyboardInterrupt()])
def test_afterwards_signals_do_what_they_did(handlers: dict[int, object], error: BaseException | None) -> None:
    try:
        with deferred_interrupt():
            assert all(signal.getsignal(number) != handlers[number] for number in SIGNALS)
            if error is not None:
                raise error
    except BaseException as caught:
        assert caught is error
    assert {int(number): signal.getsignal(number) for number in SIGNALS} == handlers


def test_outside_the_main_thread_nothing_is_changed(handlers: dict[int, object]) -> None:
    seen: list[object] = []

    def run() -> None:
        with deferred_interrupt() as stop:
            seen.append(stop.wanted)
            seen.extend(signal.getsignal(number) for number in SIGNALS)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [False, *handlers.values()]


def test_every_block_starts_anew() -> None:
    with deferred_interrupt():
        signal.raise_signal(signal.SIGINT)
    with deferred_interrupt() as stop:
        assert not stop.wanted


def test_what_runs_in_a_thread_gives_and_raises_as_here() -> None:
    assert in_thread(lambda: 3) == 3
    with pytest.raises(KeyError, match="missing"):
        in_thread(lambda: {}["missing"])


def test_while_a_thread_runs_a_signal_is_heard() -> None:
    def work() -> bool:
        os.kill(os.getpid(), signal.SIGINT)
        until = time.monotonic() + 30
        while not request.wanted and time.monotonic() < until:
            time.sleep(0.01)
        return request.wanted

    with deferred_interrupt() as request:
        assert in_thread(work)
