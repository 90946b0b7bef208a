"""A sweep: trials, each a training run, until there are enough of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from edgedet.errors import EdgedetError
from edgedet.files import require_writable_folder
from edgedet.train.loop import train
from edgedet.train.reporter import Reporter, SilentReporter
from edgedet.train.run import read_data
from edgedet.train.sweep.pictures import save_sweep
from edgedet.train.sweep.pruning import PruningReporter
from edgedet.train.sweep.space import Space, load_space, resolve
from edgedet.train.sweep.start import Start, require_startable, told
from edgedet.train.sweep.study import (
    ERROR,
    TrialSummary,
    importances,
    open_study,
    put_back,
    refuse,
    suggest,
    summaries,
    trials_done,
)

PICTURE = "sweep.png"

MOST_REFUSED = 100
"""How many combinations one after the other may be such as cannot start, before the sweep gives up."""


@dataclass(frozen=True)
class SweepResult:
    """What a sweep found.

    Attributes:
        name: of the study.
        folder: where the trials' runs are.
        trials: all that were begun, in order, also by other machines.
        importances: the share of each setting, see `edgedet.train.sweep.study.importances`.
    """

    name: str
    folder: Path
    trials: list[TrialSummary]
    importances: dict[str, float]

    @property
    def ranked(self) -> list[TrialSummary]:
        """The completed trials, best first; the pruned ones behind them."""
        rated = [one for one in self.trials if one.state in ("complete", "pruned") and one.value is not None]
        return sorted(rated, key=lambda one: (one.state != "complete", -(one.value or 0.0), one.number))

    @property
    def best(self) -> TrialSummary | None:
        """The completed trial with the highest mAP."""
        ranked = self.ranked
        return ranked[0] if ranked and ranked[0].state == "complete" else None

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "name": self.name,
            "folder": str(self.folder),
            "best": None if self.best is None else self.best.to_dict(),
            "best_folder": None if self.best is None else str(trial_folder(self.folder, self.best.number)),
            "ranked": [one.number for one in self.ranked],
            "trials": [one.to_dict() for one in self.trials],
            "importances": self.importances,
        }


def trial_folder(root: Path, number: int) -> Path:
    """Where the run of a trial is."""
    return root / f"trial-{number:04}"


def sweep(
    base: Mapping[str, Any],
    space_file: Path,
    out: Path,
    *,
    trials: int,
    storage: str,
    name: str,
    prune: bool = True,
    where: object = None,
    reporter: Reporter | None = None,
) -> SweepResult:
    """Goes on with a study, or begins it, until it has so many trials; a failed one counts too, a refused one does not.

    Args:
        base: the settings that no trial changes, as nested mappings; `seed` is of every trial and of the choices.
        space_file: which settings are tried, see `load_space`.
        out: folder of the runs, each in `trial-NNNN`, and of `sweep.png`.
        trials: how many the study is to have in the end.
        storage, name, prune: see `open_study`.
        where: the base settings' file, for messages.
        reporter: who watches all the runs.

    Raises:
        EdgedetError: the settings, the space, the data or the study cannot be used; or hardly any combination.
        KeyboardInterrupt: after a Ctrl-C, with the study saved; the trial is run again when the sweep goes on.
    """
    reporter = SilentReporter() if reporter is None else reporter
    config = resolve(base, {}, where=where)
    space = load_space(space_file, base)
    if config.devices > 1:
        fix = "leave devices at 1, and start the same command once for each device"
        raise EdgedetError("a trial runs in one process", where="devices", fix=fix)
    start = Start(base, read_data(config, reporter).class_names)
    require_startable(space, start.refusal, config.seed, space_file)
    require_writable_folder(out)
    study = open_study(storage, name, config, space, prune=prune)
    if not study.get_trials(deepcopy=False) and any(out.glob("trial-*")):
        fix = "name another --out, or the --storage and --name of that study"
        raise EdgedetError("the folder holds the trials of another study", where=out, fix=fix)
    refused = 0
    while trials_done(study) < trials:
        error = _run_trial(study, base, space, start, config.seed, out, reporter)
        if error is None:
            refused = 0
            save_sweep(summaries(study), importances(study), out / PICTURE)
            continue
        refused += 1
        if refused == MOST_REFUSED:
            what = f"{refused} combinations one after the other cannot start; of the last one: {error.what}"
            fix = "leave values out of the space that go with few of the others"
            raise EdgedetError(what, where=space_file, fix=fix) from error
    return SweepResult(name, out, summaries(study), importances(study))


def _run_trial(
    study: optuna.Study,
    base: Mapping[str, Any],
    space: Space,
    start: Start,
    seed: int,
    out: Path,
    reporter: Reporter,
) -> EdgedetError | None:
    """Runs a new trial, whatever becomes of it; or why its settings were refused."""
    trial = study.ask()
    try:
        chosen = suggest(study, trial, space, seed)
        reporter.message(f"trial {trial.number}: {told(chosen)}")
        refusal = start.refusal(chosen)
        if refusal is not None:
            reason = refusal.what if refusal.where is None else f"{refusal.where}: {refusal.what}"
            refuse(study, trial, reason)
            reporter.message(f"trial {trial.number}: cannot start, another is drawn: {reason}")
            return refusal
        config = resolve(base, chosen)
        folder = trial_folder(out, trial.number)
        result = train(config, folder, reporter=PruningReporter(reporter, trial, config.epochs))
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
        reporter.message(f"trial {trial.number}: ended early, below the median")
    except KeyboardInterrupt:
        put_back(study, trial)
        raise
    except Exception as error:
        # Whatever it is, the other trials may do without it; it is told at once, and kept.
        trial.set_user_attr(ERROR, f"{type(error).__name__}: {error}")
        study.tell(trial, state=TrialState.FAIL)
        reporter.message(f"trial {trial.number}: failed: {error}")
    else:
        study.tell(trial, result.best_map)
        reporter.message(f"trial {trial.number}: best mAP50-95 {result.best_map:.4f}")
    return None
