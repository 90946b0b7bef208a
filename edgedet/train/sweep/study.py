"""The Optuna study of a sweep: what it is of, what it suggests, what it knows (Akiba et al., "Optuna", KDD 2019)."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

from edgedet.errors import EdgedetError
from edgedet.train.config import TrainConfig
from edgedet.train.sweep.space import Choices, Range, Scalar, Space, is_whole

OF_THE_MACHINE = ("data", "accelerator", "workers", "threads", "cache_mib", "tensorboard")
"""Settings that the machines of one study may have each for itself."""

IDENTITY, ERROR, INTERRUPTED, REFUSED = "sweep", "error", "interrupted", "refused"
"""Names of what the study keeps of itself, and of a trial."""

TRIALS_AT_RANDOM, TRIALS_BEFORE_PRUNING = 10, 5
"""What Optuna's sampler and pruner wait for before they compare trials (its own defaults)."""

TRIALS_FOR_IMPORTANCE = 10
"""Of fewer, the best tenth, which PED-ANOVA looks at, is not even one."""


@dataclass(frozen=True)
class TrialSummary:
    """One trial.

    Attributes:
        number: from 0; its folder is `trial-NNNN`.
        state: `complete`, `pruned`, `failed`, `interrupted` (it is run again as another trial), `refused` (its settings
            do not go together: it did not start, and another one was drawn) or `running`.
        value: best mAP50-95 on the validation split, as a fraction; of a pruned trial that of its last evaluation.
        settings: what was chosen for it.
        seconds: how long it took; None while it runs.
        error: why it failed or was refused.
    """

    number: int
    state: str
    value: float | None
    settings: dict[str, Scalar]
    seconds: float | None
    error: str | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def open_study(storage: str, name: str, base: TrainConfig, space: Space, *, prune: bool) -> optuna.Study:
    """The study of that name, begun where there is none yet.

    Args:
        storage: a database URL, as SQLAlchemy takes it: `sqlite:///FILE.db`, `postgresql://...`.
        name: of the study in that storage.
        base: what the settings are where the space does not choose them.
        space: what is chosen.
        prune: end trials early that are below the median of the completed ones after as many epochs.

    Raises:
        EdgedetError: the storage cannot be opened, or the study is of other settings.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner: BasePruner = MedianPruner(n_startup_trials=TRIALS_BEFORE_PRUNING) if prune else NopPruner()
    try:
        study = optuna.create_study(
            storage=storage, study_name=name, direction="maximize", pruner=pruner, load_if_exists=True
        )
    except Exception as error:
        # SQLAlchemy, the database's driver and Optuna each have errors of their own.
        reason = str(error).partition("\n")[0]
        what = f"cannot open the study ({reason})"
        raise EdgedetError(what, where="--storage", fix="for example --storage sqlite:///sweep.db") from error
    _require_same(study, _identity(base, space))
    return study


def suggest(study: optuna.Study, trial: optuna.Trial, space: Space, seed: int) -> dict[str, Scalar]:
    """A value for each setting: the first 10 trials at random, then by the tree-structured Parzen estimator.

    (Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011.) What is suggested depends on the
    seed, the number of the trial and the other trials: not on how often the sweep was stopped. Machines with one seed
    do not all start with the same trials. Refused trials are none of the 10.

    Args:
        study: gets a sampler of its own for each trial.
        trial: a new one of the study.
        space: what is chosen.
        seed: 0 to 2^32 - 1.
    """
    state = int(np.random.SeedSequence([seed, trial.number]).generate_state(1)[0])
    # Optuna counts pruned trials, and a refused one is one to it; but nothing was learned by it.
    at_random = TRIALS_AT_RANDOM + sum(one.state == "refused" for one in summaries(study))
    study.sampler = TPESampler(n_startup_trials=at_random, seed=state, multivariate=False)
    return {setting: _suggested(trial, setting, domain) for setting, domain in space.items()}


def put_back(study: optuna.Study, trial: optuna.Trial) -> None:
    """Ends an interrupted trial; the next one, on whatever machine, has its settings."""
    trial.set_user_attr(INTERRUPTED, True)
    study.enqueue_trial(trial.params)
    study.tell(trial, state=TrialState.FAIL)


def refuse(study: optuna.Study, trial: optuna.Trial, reason: str) -> None:
    """Ends a trial that cannot start. The estimator takes it for worse than all others, or would suggest it forever."""
    trial.set_user_attr(REFUSED, True)
    trial.set_user_attr(ERROR, reason)
    study.tell(trial, state=TrialState.PRUNED)


def trials_done(study: optuna.Study) -> int:
    """How many trials were completed, pruned or failed."""
    return sum(one.state in ("complete", "pruned", "failed") for one in summaries(study))


def summaries(study: optuna.Study) -> list[TrialSummary]:
    """All trials that were begun, in order."""
    return [_summary(trial) for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]


def importances(study: optuna.Study) -> dict[str, float]:
    """The share of each setting in how good the best trials are, most first; empty before 10 are complete.

    By PED-ANOVA (Watanabe et al., IJCAI 2023): how far the values in the best tenth of the trials are from those in
    all of them. The shares add up to 1.
    """
    if len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) < TRIALS_FOR_IMPORTANCE:
        return {}
    with warnings.catch_warnings():
        # Optuna 4 calls this evaluator experimental; where all trials are equally good, it says so.
        warnings.simplefilter("ignore")
        return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())


def _suggested(trial: optuna.Trial, setting: str, domain: Range | Choices) -> Scalar:
    if isinstance(domain, Choices):
        chosen: Scalar = trial.suggest_categorical(setting, domain.choices)
        return chosen
    if is_whole(setting):
        step = 1 if domain.step is None else int(domain.step)
        return trial.suggest_int(setting, int(domain.low), int(domain.high), step=step, log=domain.log)
    return trial.suggest_float(setting, domain.low, domain.high, step=domain.step, log=domain.log)


def _summary(trial: FrozenTrial) -> TrialSummary:
    return TrialSummary(
        number=trial.number,
        state=_state(trial),
        value=trial.value,
        settings=dict(trial.params),
        seconds=None if trial.duration is None else round(trial.duration.total_seconds(), 1),
        error=trial.user_attrs.get(ERROR),
    )


def _state(trial: FrozenTrial) -> str:
    if trial.user_attrs.get(INTERRUPTED):
        return "interrupted"
    if trial.user_attrs.get(REFUSED):
        return "refused"
    return {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}.get(
        trial.state, "running"
    )


def _identity(base: TrainConfig, space: Space) -> dict[str, Any]:
    """What all trials of a study have in common, as JSON holds it."""
    kept = {key: value for key, value in base.model_dump(mode="json").items() if key not in OF_THE_MACHINE}
    domains = {setting: domain.model_dump(mode="json") for setting, domain in space.items()}
    identity: dict[str, Any] = json.loads(json.dumps({"settings": kept, "space": domains}))
    return identity


def _require_same(study: optuna.Study, identity: Mapping[str, Any]) -> None:
    known = study.user_attrs.get(IDENTITY)
    if known is None and not study.get_trials(deepcopy=False):
        study.set_user_attr(IDENTITY, identity)
    elif known != identity:
        what = "the study of that name was begun with other settings or another space"
        raise EdgedetError(what, where=f"--name {study.study_name}", fix="give those again, or another --name")
