"""The builder's phases on a terminal, or as lines in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgedet.cli import output

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from edgedet.engine.progress import BuildWatcher

MOST_BARS = 8
"""Phases lie inside one another; deeper ones are not shown."""

LOG_SECONDS = 10.0


@contextmanager
def watched(description: str) -> Iterator[BuildWatcher]:
    """What shows the builder's progress during the block."""
    if not output.console().is_terminal:
        output.console().print(output.printable(description))
        yield _Lines()
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=output.console(), transient=True) as progress:
        progress.add_task(output.printable(description), total=None)
        yield _Bars(progress)


class _Bars:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        if len(self._tasks) < MOST_BARS:
            self._tasks[phase] = self._progress.add_task(output.printable(phase[:60]), total=steps)

    def step(self, phase: str, done: int) -> None:
        if phase in self._tasks:
            self._progress.update(self._tasks[phase], completed=done)

    def finish(self, phase: str) -> None:
        if phase in self._tasks:
            self._progress.remove_task(self._tasks.pop(phase))


class _Lines:
    """The outermost phases, and now and then how far they are."""

    def __init__(self) -> None:
        self._steps: dict[str, int] = {}
        self._last = time.monotonic()

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        if parent is None:
            output.console().print(output.printable(f"{phase}: {steps} steps"))
        self._steps[phase] = steps

    def step(self, phase: str, done: int) -> None:
        if time.monotonic() - self._last >= LOG_SECONDS:
            self._last = time.monotonic()
            output.console().print(output.printable(f"{phase}: {done}/{self._steps.get(phase, done)}"))

    def finish(self, phase: str) -> None:
        self._steps.pop(phase, None)
