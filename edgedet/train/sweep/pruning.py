"""A training run that tells a study how good it is so far."""

from __future__ import annotations

from typing import Any

import optuna

from edgedet.train.reporter import Reporter


class PruningReporter:
    """Passes the events of a run on, and ends it after an evaluation that the study's pruner finds hopeless.

    Args:
        reporter: who else watches.
        trial: what the run is in the study.
        epochs: of the run; nothing is saved by ending it after its last one.
    """

    def __init__(self, reporter: Reporter, trial: optuna.Trial, epochs: int) -> None:
        self._reporter = reporter
        self._trial = trial
        self._epochs = epochs

    def start(self, first_step: int, total_steps: int, images_per_step: int) -> None:
        self._reporter.start(first_step, total_steps, images_per_step)

    def message(self, text: str) -> None:
        self._reporter.message(text)

    def step(self, epoch: int, loss: float) -> None:
        self._reporter.step(epoch, loss)

    def epoch(self, record: dict[str, Any]) -> None:
        self._reporter.epoch(record)
        if "map" not in record:
            return
        self._trial.report(record["map"] or 0.0, step=record["epoch"])
        if record["epoch"] < self._epochs and self._trial.should_prune():
            raise optuna.TrialPruned

    def finish(self) -> None:
        self._reporter.finish()
