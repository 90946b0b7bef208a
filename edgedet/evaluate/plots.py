"""Precision over recall as a picture."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from edgedet.evaluate.coco import RECALL_POINTS, Metrics
from edgedet.files import atomic_path

LABELLED_CLASSES = 20


def precision_recall_figure(metrics: Metrics) -> Figure:
    """Precision over recall at IoU .50: a line for each class that has objects, a thick one for their mean.

    More than 20 classes are drawn without their names, which would cover the picture.
    """
    figure = Figure(figsize=(7, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    recall = np.linspace(0, 1, RECALL_POINTS)
    measured = [index for index, one in enumerate(metrics.classes) if not math.isnan(one.ap50)]
    many = len(measured) > LABELLED_CLASSES
    for index in measured:
        one = metrics.classes[index]
        label = None if many else f"{one.ap50:.3f} {_plain(one.name)}"
        colour = "0.75" if many else None
        axes.plot(recall, metrics.precision50[index], linewidth=1, color=colour, label=label)
    if measured:
        mean = metrics.precision50[measured].mean(axis=0)
        axes.plot(recall, mean, linewidth=3, color="black", label=f"{metrics.map50:.3f} all")
        axes.legend(loc="lower left", title="AP at IoU .50")
    else:
        axes.text(0.5, 0.5, "no labelled object", ha="center", va="center")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02), title="Precision and recall at IoU .50")
    axes.grid(alpha=0.3)
    return figure


def save_precision_recall(metrics: Metrics, path: Path) -> None:
    """Writes `precision_recall_figure` as a PNG, all or nothing."""
    figure = precision_recall_figure(metrics)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _plain(name: str) -> str:
    """A class name that matplotlib does not read as a formula."""
    return name.replace("$", r"\$")
