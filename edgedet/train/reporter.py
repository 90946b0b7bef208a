"""What a training run tells whoever watches it."""

from __future__ import annotations

from typing import Any, Protocol


class Reporter(Protocol):
    """Receives the events of a run, in order."""

    def start(self, first_step: int, total_steps: int, images_per_step: int) -> None:
        """The steps begin (not at 0 in a resumed run)."""

    def message(self, text: str) -> None:
        """One line worth knowing: dropped boxes, what is resumed."""

    def step(self, epoch: int, loss: float) -> None:
        """A step is done."""

    def epoch(self, record: dict[str, Any]) -> None:
        """An epoch is done; `record` is its line of `metrics.jsonl`."""

    def finish(self) -> None:
        """The steps are over, also after an error."""


class SilentReporter:
    """Nobody watches."""

    def start(self, first_step: int, total_steps: int, images_per_step: int) -> None: ...

    def message(self, text: str) -> None: ...

    def step(self, epoch: int, loss: float) -> None: ...

    def epoch(self, record: dict[str, Any]) -> None: ...

    def finish(self) -> None: ...
