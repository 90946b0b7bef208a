"""The chart of latencies: how each run's queries are spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from edgedet.bench.report.runs import Run
from edgedet.bench.report.svg import DIM, LINE, WIDTH

BINS = 80
ROW_INCHES, AXIS_INCHES = 0.62, 0.5
HILL = 0.56
"""Of a row's height; the texts stand above."""

TAIL = 0.01
"""Of each run's queries, the slowest that the axis need not reach: a single one would press all others together."""


def latency_figure(runs: Sequence[Run], colours: Mapping[str, str]) -> Figure:
    """A row for each run: how often which latency came, a line at the median, a dotted one at the 99th percentile.

    Args:
        runs: of one protocol, at least one.
        colours: by the runs' names.
    """
    figure = Figure(figsize=(WIDTH, AXIS_INCHES + ROW_INCHES * len(runs)), layout="constrained")
    axes = figure.add_subplot()
    low, high = _limits(runs)
    edges = np.linspace(low, high, BINS + 1)
    for row, run in enumerate(runs):
        _draw_row(axes, len(runs) - 1 - row, run, edges, colours[run.name])
    axes.set(xlim=(low, high), ylim=(-0.02, len(runs)), yticks=[], xlabel="latency of a query, ms")
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.spines[["left", "top", "right"]].set_visible(False)
    return figure


def latency_note(runs: Sequence[Run]) -> str:
    """In words, what the axis does not reach; empty where it reaches all."""
    _, high = _limits(runs)
    beyond = {run.name: [time for time in run.result.latencies if time > high] for run in runs}
    told = [
        f"{name}: {len(times)} of {len(run.result.latencies)}, up to {max(times):.4g} ms"
        for run, (name, times) in zip(runs, beyond.items(), strict=True)
        if times
    ]
    return f"Beyond the axis: {'; '.join(told)}." if told else ""


def _draw_row(axes: Axes, bottom: int, run: Run, edges: np.ndarray, colour: str) -> None:
    counts, _ = np.histogram(run.result.latencies, edges)
    heights = bottom + HILL * counts / max(counts.max(), 1)
    axes.stairs(heights, edges, baseline=bottom, fill=True, color=colour, alpha=0.35, linewidth=0)
    axes.stairs(heights, edges, baseline=bottom, color=colour, linewidth=1.0)
    axes.axhline(bottom, color=LINE, linewidth=0.6, zorder=0)
    median, far = run.result.latency.median, run.p99_ms
    axes.vlines(median, bottom, bottom + HILL, color=colour, linewidth=2.0)
    told = f"{median:#.4g} ms median"
    if far is not None:
        axes.vlines(far, bottom, bottom + HILL, color=colour, linewidth=1.2, linestyle=":")
        told += f", {far:#.4g} p99"
    place = axes.get_yaxis_transform()
    axes.text(0, bottom + HILL + 0.08, run.name, transform=place, weight="bold", va="bottom")
    axes.text(1, bottom + HILL + 0.08, told, transform=place, ha="right", va="bottom", color=DIM)


def _limits(runs: Sequence[Run]) -> tuple[float, float]:
    """Of the axis, ms: all queries of all runs but for the slowest of each."""
    low = min(min(run.result.latencies) for run in runs)
    slow = max(float(np.quantile(run.result.latencies, 1 - TAIL)) for run in runs)
    high = max(slow, *(run.p99_ms or 0.0 for run in runs), low * 1.01)
    margin = (high - low) / 20
    return max(low - margin, 0.0), high + margin
