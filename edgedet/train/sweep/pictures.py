"""A sweep as a picture: what each trial reached, and which settings mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from edgedet.files import atomic_path
from edgedet.train.sweep.study import TrialSummary

MARKERS = {"complete": "o", "pruned": "x"}


def save_sweep(trials: Sequence[TrialSummary], importances: Mapping[str, float], path: Path) -> None:
    """Writes a PNG, all or nothing: values by trial, the best so far, and the importances where there are some."""
    figure = Figure(figsize=(11 if importances else 7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    values, *others = figure.subplots(1, 2 if importances else 1, squeeze=False)[0]
    for state, marker in MARKERS.items():
        found = [(one.number, one.value) for one in trials if one.state == state and one.value is not None]
        if found:
            values.scatter(*zip(*found, strict=True), marker=marker, label=state)
    completed = [(one.number, one.value) for one in trials if one.state == "complete" and one.value is not None]
    if completed:
        numbers, reached = zip(*completed, strict=True)
        values.step(numbers, np.maximum.accumulate(reached), where="post", color="black", linewidth=1, label="best")
        values.legend()
    values.set(title="Validation mAP50-95 by trial", xlabel="trial", ylabel="mAP50-95")
    values.xaxis.get_major_locator().set_params(integer=True)
    values.grid(alpha=0.3)
    for axes in others:
        names = list(importances)[::-1]
        axes.barh(names, [importances[name] for name in names])
        axes.set(title="Importance of the settings (PED-ANOVA)", xlim=(0, 1))
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
