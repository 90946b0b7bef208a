"""Stopping between steps instead of in the middle of one, and hearing of it while other code runs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

WAITING_SECONDS = 0.2


class StopRequest:
    """Whether someone asked to stop."""

    def __init__(self) -> None:
        self.wanted = False


@contextmanager
def deferred_interrupt() -> Iterator[StopRequest]:
    """Within the block the first Ctrl-C or SIGTERM only sets `wanted`; a second one interrupts at once."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if request.wanted:
            raise KeyboardInterrupt
        request.wanted = True

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Within the block SIGTERM, which services are stopped with, raises KeyboardInterrupt as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def in_thread(work: Callable[[], T]) -> T:
    """What `work` gives, or raises, in another thread, while this one can be interrupted.

    Python hears of a signal in the main thread alone, and not while that is inside a library.
    """
    results: list[Any] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(WAITING_SECONDS)
    if failures:
        raise failures[0]
    result: T = results[0]
    return result
