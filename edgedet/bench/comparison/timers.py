"""Model files as what a comparison times: in this process, or each in a fresh one."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from edgedet.bench.comparison.sitting import Opener
from edgedet.bench.inputs import Feed
from edgedet.bench.opening import NO_TRUST, Trust, open_model, open_runners
from edgedet.bench.pinning import pinned
from edgedet.bench.query import Runner
from edgedet.bench.settings import Settings
from edgedet.errors import EdgedetError

STARTING_SECONDS = 300.0
ENDING_SECONDS = 5.0


class ModelTimer:
    """A model that was loaded into this process (`edgedet.bench.comparison.sitting.Timer`).

    Attributes:
        feed: what it is fed.
    """

    def __init__(self, model: Path, settings: Settings, trust: Trust, feed: Feed | None = None) -> None:
        opened = open_model(model, settings, trust, feed=feed)
        self.feed = opened.feed
        self._runner: Runner = open_runners(opened, settings)[0]

    def times(self, count: int) -> list[float]:
        """The latencies of `count` queries; one on its way at a time."""
        latencies = []
        for _ in range(count):
            self._runner.submit()
            latencies.append(self._runner.collect().latency)
        return latencies

    def close(self) -> None:
        """The memory goes with the object."""


class ProcessTimer:
    """A model in a process of its own, which waits while others are timed."""

    def __init__(self, model: Path, settings: Settings, trust: Trust) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, model, settings, trust), daemon=True)
        with _unheard_interrupts():
            self._process.start()
        theirs.close()
        try:
            self._answer()
        except BaseException:
            self.close()
            raise

    def times(self, count: int) -> list[float]:
        """The latencies of `count` queries."""
        return self._answer(count)

    def close(self) -> None:
        """Ends the process."""
        self._connection.close()
        self._process.join(ENDING_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _answer(self, count: int | None = None) -> list[float]:
        """To so many queries; without them, that the model is loaded."""
        try:
            if count is not None:
                self._connection.send(count)
            if not self._connection.poll(STARTING_SECONDS):
                raise EdgedetError(f"the process of the model did not answer for {STARTING_SECONDS:.0f} s")
            answer: list[float] | EdgedetError = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            self._process.join(ENDING_SECONDS)
            fix = "run the model alone, with edgedet bench, to see why"
            raise EdgedetError(f"the process of the model ended ({self._process.exitcode})", fix=fix) from error
        if isinstance(answer, EdgedetError):
            raise answer
        return answer


def model_opener(
    models: Sequence[Path],
    settings: Settings,
    *,
    trust: Trust = NO_TRUST,
    fresh_processes: bool = False,
    first: int = 0,
) -> Opener:
    """Loads one of several builds of a model: sitting by sitting the next, so that builds count as chance.

    Args:
        models: at least one.
        settings: how its queries run; what is about long measurements plays no part.
        trust: what of the files may be run.
        fresh_processes: whether each sitting has processes of its own, or loads its models into this one.
        first: which of them the first sitting has.
    """

    def place(number: int) -> Path:
        return models[(first + number) % len(models)]

    if fresh_processes:
        return lambda number: ProcessTimer(place(number), settings, trust)
    feed: Feed | None = None

    def load(number: int) -> ModelTimer:
        nonlocal feed
        timer = ModelTimer(place(number), settings, trust, feed)
        feed = timer.feed
        return timer

    return load


def _serve(connection: Connection, model: Path, settings: Settings, trust: Trust) -> None:
    """The other process: loads the model, then times as many queries as it is told to, until nobody asks any more."""
    logging.disable(logging.WARNING)
    try:
        with pinned(settings.threads):
            timer = ModelTimer(model, settings, trust)
            connection.send([])
            while True:
                connection.send(timer.times(connection.recv()))
    except EdgedetError as error:
        connection.send(error)
    except (EOFError, ConnectionError):
        pass


@contextmanager
def _unheard_interrupts() -> Iterator[None]:
    """What is started within never hears Ctrl-C, which a terminal sends to all: only who asks it decides to stop."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A process inherits that a signal is ignored, and Python leaves it so: from its first moment on.
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
