"""The chart of accuracy against latency, with the runs that no other beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from edgedet.bench.report.cleaning import shortened
from edgedet.bench.report.groups import pareto_front
from edgedet.bench.report.runs import Run
from edgedet.bench.report.svg import DIM, LINE, WIDTH

AXES_INCHES, LABEL_INCHES = 2.6, 0.22
LABELS = 1.06
"""Where the names begin, in widths of the axes."""

AXES_LEFT, AXES_WIDTH, LONGEST_NAME = 0.15, 0.48, 27


def points_of(runs: Sequence[Run]) -> list[tuple[Run, tuple[float, float]]]:
    """The runs whose accuracy is known, with their median latencies in milliseconds and their mAP50-95."""
    return [(run, (run.result.latency.median, run.result.map)) for run in runs if run.result.map is not None]


def accuracy_figure(runs: Sequence[Run], colours: Mapping[str, str]) -> Figure:
    """mAP50-95 over the median latency; a dashed stair joins the runs that no other beats.

    Names stand beside the axes, so that they do not cover points.

    Args:
        runs: of one protocol, of which at least one says its accuracy.
        colours: by the runs' names.
    """
    known = points_of(runs)
    height = max(AXES_INCHES, LABEL_INCHES * len(known) + 0.6)
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((AXES_LEFT, 0.5 / height, AXES_WIDTH, (height - 0.6) / height))
    _draw_front(axes, [point for _, point in known])
    for run, (latency, accuracy) in known:
        axes.plot(latency, accuracy, "o", color=colours[run.name], markersize=7)
    axes.set(xlabel="median latency, ms", ylabel="mAP50-95")
    axes.margins(0.12)
    axes.set_xlim(0, 1.12 * max(latency for _, (latency, _) in known))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.ticklabel_format(useOffset=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=LINE, linewidth=0.5)
    axes.set_axisbelow(True)
    _label(axes, known, colours)
    return figure


def _draw_front(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    front = [points[place] for place in pareto_front(points)]
    axes.plot(*zip(*front, strict=True), drawstyle="steps-post", color=DIM, linewidth=1.0, linestyle="--")


def _label(axes: Axes, known: Sequence[tuple[Run, tuple[float, float]]], colours: Mapping[str, str]) -> None:
    """Names in a column, the most accurate at the top, each with a line to its point."""
    ordered = sorted(known, key=lambda item: -item[1][1])
    for place, (run, point) in enumerate(ordered):
        axes.annotate(
            shortened(run.name, LONGEST_NAME),
            point,
            xytext=(LABELS, 1 - (place + 0.5) / len(ordered)),
            textcoords="axes fraction",
            va="center",
            fontsize=8,
            arrowprops={
                "arrowstyle": "-",
                "color": colours[run.name],
                "linewidth": 0.7,
                "relpos": (0, 0.5),
                "shrinkB": 4,
            },
            annotation_clip=False,
        )
