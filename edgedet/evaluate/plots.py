"""What an evaluation found, as pictures: curves, the confusion matrix, errors by cause."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from edgedet.evaluate.coco import RECALL_POINTS, Metrics
from edgedet.evaluate.confusion import ConfusionMatrix
from edgedet.evaluate.f1 import THRESHOLDS, BestF1, F1Curves
from edgedet.evaluate.tide import CAUSES, ErrorAnalysis
from edgedet.files import atomic_path

LABELLED_CLASSES = 20


def precision_recall_figure(metrics: Metrics) -> Figure:
    """Precision over recall at IoU .50: a line for each class that has objects, a thick one for their mean.

    More than 20 classes are drawn without their names, which would cover the picture.
    """
    figure, axes = _canvas(7, 6)
    measured = [index for index, one in enumerate(metrics.classes) if not math.isnan(one.ap50)]
    if measured:
        labels = [f"{metrics.classes[index].ap50:.3f} {_plain(metrics.classes[index].name)}" for index in measured]
        recall = np.linspace(0, 1, RECALL_POINTS)
        _draw_curves(axes, recall, metrics.precision50[measured], labels, f"{metrics.map50:.3f} all")
        axes.legend(loc="lower left", title="AP at IoU .50")
    else:
        _draw_nothing(axes)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02), title="Precision and recall at IoU .50")
    return figure


def f1_figure(curves: F1Curves) -> Figure:
    """F1 at IoU .50 over the score threshold: lines as in `precision_recall_figure`, named with the best thresholds."""
    figure, axes = _canvas(7, 6)
    measured = np.flatnonzero(curves.measured)
    if len(measured):
        labels = [_best_f1(curves.classes[index]) for index in measured]
        _draw_curves(axes, THRESHOLDS, curves.f1[measured], labels, _best_f1(curves.overall))
        axes.legend(loc="lower left", title="highest F1")
    else:
        _draw_nothing(axes)
    axes.set(xlabel="score threshold", ylabel="F1", xlim=(0, 1), ylim=(0, 1.02), title="F1 at IoU .50")
    return figure


def confusion_figure(matrix: ConfusionMatrix) -> Figure:
    """The confusion matrix, coloured by the share of each column: of the objects labelled so.

    Up to 20 classes are named, with the counts in their cells.
    """
    size = len(matrix.names)
    named = size - 1 <= LABELLED_CLASSES
    side = min(4 + 0.55 * size, 14) if named else 10
    figure, axes = _canvas(side + 1, side)
    shares = matrix.counts / np.maximum(matrix.counts.sum(axis=0), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the column", shrink=0.8)
    axes.set(
        xlabel="labelled",
        ylabel="detected",
        title=f"Scores above {matrix.score_threshold:g}, IoU of at least {matrix.iou_threshold:g}",
    )
    axes.grid(visible=False)
    if named:
        names = [_plain(name) for name in matrix.names]
        axes.set_xticks(range(size), names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(size), names)
        for row, column in np.argwhere(matrix.counts):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{matrix.counts[row, column]}", ha="center", va="center", color=colour)
    return figure


def errors_figure(analysis: ErrorAnalysis) -> Figure:
    """The AP that repairing each cause of errors alone would gain, with the number of errors."""
    figure, axes = _canvas(7, 4)
    gains = np.nan_to_num(np.array(analysis.gains))
    bars = axes.barh(CAUSES, gains, color="tab:red")
    axes.bar_label(bars, [f" {count}" for count in analysis.counts])
    axes.invert_yaxis()
    axes.set_axisbelow(True)
    axes.grid(visible=False, axis="y")
    axes.set(
        xlabel="gain of AP at IoU .50 where the cause alone is repaired",
        title="Errors by cause, and how many there are",
        xlim=(0, max(1.15 * gains.max(), 0.01)),
    )
    return figure


def save_precision_recall(metrics: Metrics, path: Path) -> None:
    """Writes `precision_recall_figure` as a PNG, all or nothing."""
    save_figure(precision_recall_figure(metrics), path)


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure as a PNG, all or nothing."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of that size in inches, with one plot."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.grid(alpha=0.3)
    return figure, axes


def _draw_curves(
    axes: Axes, x: NDArray[np.float64], curves: NDArray[np.float64], labels: Sequence[str], mean_label: str
) -> None:
    """A line for each of the classes `[N, len(x)]` and a thick one for their mean."""
    many = len(labels) > LABELLED_CLASSES
    for curve, label in zip(curves, labels, strict=True):
        axes.plot(x, curve, linewidth=1, color="0.75" if many else None, label=None if many else label)
    axes.plot(x, curves.mean(axis=0), linewidth=3, color="black", label=mean_label)


def _draw_nothing(axes: Axes) -> None:
    axes.text(0.5, 0.5, "no labelled object", ha="center", va="center")


def _best_f1(best: BestF1) -> str:
    return f"{best.f1:.3f} above {best.threshold:.2f} {_plain(best.name)}"


def _plain(name: str) -> str:
    """A class name that matplotlib does not read as a formula."""
    return name.replace("$", r"\$")
