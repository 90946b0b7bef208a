"""A training run on a terminal: a bar with images a second and the time left; in a log, a line an epoch."""

from __future__ import annotations

import time
from typing import Any

from edgedet.cli import output


class TerminalReporter:
    """An `edgedet.train.reporter.Reporter` that writes to stderr."""

    def __init__(self) -> None:
        self._console = output.console()
        self._progress: Any = None
        self._task: Any = None
        self._images_per_step = 1
        self._first_step = self._step = self._total = 0
        self._started = 0.0

    def start(self, first_step: int, total_steps: int, images_per_step: int) -> None:
        self._images_per_step = images_per_step
        self._first_step = self._step = first_step
        self._total = total_steps
        self._started = time.monotonic()
        if self._console.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._progress = Progress(
                TextColumn("epoch {task.fields[epoch]}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]:.1f} images/s  loss {task.fields[loss]:.3f}"),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._task = self._progress.add_task(
                "", total=total_steps, completed=first_step, epoch=0, rate=0.0, loss=float("nan")
            )
            self._progress.start()

    def message(self, text: str) -> None:
        self._console.print(output.printable(text))

    def step(self, epoch: int, loss: float) -> None:
        self._step += 1
        if self._progress is not None:
            self._progress.update(self._task, advance=1, epoch=epoch + 1, rate=self._rate(), loss=loss)

    def epoch(self, record: dict[str, Any]) -> None:
        measured = record.get("map")
        found = "" if measured is None else f"  mAP50-95 {measured:.4f}  mAP50 {record['map50']:.4f}"
        left = (self._total - self._step) * (time.monotonic() - self._started) / max(self._step - self._first_step, 1)
        self.message(
            f"epoch {record['epoch']}: loss {record['loss']:.4f}{found}"
            f"  {record['images_per_second']:.1f} images/s, {left / 60:.1f} min left"
        )

    def finish(self) -> None:
        if self._progress is not None:
            self._progress.stop()

    def _rate(self) -> float:
        seconds = max(time.monotonic() - self._started, 1e-9)
        return (self._step - self._first_step) * self._images_per_step / seconds
