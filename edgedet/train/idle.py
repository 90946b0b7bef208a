"""Settings that another one makes idle."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from edgedet.errors import EdgedetError
from edgedet.train.config import TrainConfig

NEEDS: dict[str, tuple[str, Callable[[TrainConfig], bool]]] = {
    "loss.negative_ratio": ("loss.negatives=hard", lambda config: config.loss.negatives == "hard"),
    "loss.top_k": ("loss.negatives=top_k", lambda config: config.loss.negatives == "top_k"),
    "network.dropblock_size": ("network.dropblock above 0", lambda config: config.network.dropblock > 0),
    "optimizer.momentum": ("optimizer.name=sgd", lambda config: config.optimizer.name == "sgd"),
}
"""By setting, what it needs to have an effect: in words, and whether a run has it."""


def require_effect(config: TrainConfig, assignments: Iterable[str]) -> None:
    """Refuses what was asked for on the command line and would change nothing.

    Files are not looked at: recipes and the `config.yaml` of a run name every setting, idle ones too.

    Args:
        config: the run's settings.
        assignments: what `--set` was given, each `a.b=value`.
    """
    for assignment in assignments:
        setting = assignment.partition("=")[0]
        needed, has_effect = NEEDS.get(setting, ("", lambda _: True))
        if not has_effect(config):
            fix = f"set {needed}, or leave {setting} out"
            raise EdgedetError("changes nothing in this run", where=f"--set {assignment}", fix=fix)
