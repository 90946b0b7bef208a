"""The charts of layers: what takes longest, what moved between two models, how near each comes to the peak."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from edgedet.bench.layers.moved import Move
from edgedet.bench.layers.plot import roofline_figure
from edgedet.bench.layers.table import LayerTable
from edgedet.bench.report.cleaning import shortened
from edgedet.bench.report.svg import COLOURS, DIM, WIDTH

SHOWN = 12
ROW_INCHES = 0.34
BAR = 0.3
"""Of a row's height; the name stands above the bar, where even a long one has room."""

LONGEST_NAME = 48
FASTER, SLOWER = COLOURS[0], COLOURS[1]
ROOFLINE_INCHES = (WIDTH, 4.2)


def layers_figure(table: LayerTable, colour: str) -> Figure:
    """A bar for each of the layers that take longest; all others together are told in words alone.

    Args:
        table: of at least one layer.
        colour: of the run.
    """
    costly = table.costliest_first()
    bars = [(f"{layer.label}  ({layer.kind})", layer.milliseconds) for layer in costly[:SHOWN]]
    rest = costly[SHOWN:]
    figure, axes = _rows(len(bars) + bool(rest))
    longest = max(milliseconds for _, milliseconds in bars)
    total = table.total_ms
    for row, (name, milliseconds) in enumerate(bars):
        _draw_bar(axes, row, name, f"{milliseconds:.3f} ms{_share(milliseconds, total)}", milliseconds, colour)
    if rest:
        together = sum(layer.milliseconds for layer in rest)
        told = f"{together:.3f} ms{_share(together, total)}"
        _draw_bar(axes, len(bars), f"{len(rest)} other layers", told, 0.0, DIM)
    axes.set_xlim(0, longest or 1)
    return figure


def moves_figure(moves: Sequence[Move]) -> Figure:
    """A bar for each of the layers that moved most: to the left where the head is faster, to the right where slower.

    Args:
        moves: at least one, the largest first.
    """
    shown = moves[:SHOWN]
    figure, axes = _rows(len(shown))
    for row, move in enumerate(shown):
        colour = SLOWER if move.difference_ms > 0 else FASTER
        _draw_bar(axes, row, f"{move.label}  ({move.kind})", _told(move), move.difference_ms, colour)
        axes.vlines(0, row + 1 - BAR - 0.14, row + 1 - 0.02, color=DIM, linewidth=0.8)
    widest = max(abs(move.difference_ms) for move in shown) or 1
    axes.set_xlim(-widest, widest)
    return figure


def has_roofline(table: LayerTable) -> bool:
    """Whether any layer has a place in it."""
    return any(layer.macs_per_byte and layer.achieved_gmacs for layer in table.layers)


def report_roofline(table: LayerTable) -> Figure:
    """`roofline_figure` in the size of the page, without what the page says beside it: title and names of layers."""
    # It escapes the dollars of its texts, which a text that is taken as it is would show. Its ticks would be formulas.
    with matplotlib.rc_context({"text.parse_math": True}):
        figure = roofline_figure(table)
    figure.set_size_inches(*ROOFLINE_INCHES)
    axes = figure.axes[0]
    axes.set_title("")
    legend = axes.get_legend()
    if legend is not None:
        legend.set_frame_on(False)
    for text in list(axes.texts):
        if isinstance(text, Annotation) and text.arrow_patch is not None:
            text.remove()
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())
    return figure


def _rows(count: int) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, ROW_INCHES * count))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_ylim(count, 0)
    axes.set_axis_off()
    return figure, axes


def _draw_bar(axes: Axes, row: int, name: str, told: str, length: float, colour: str) -> None:
    place = axes.get_yaxis_transform()
    text = row + 1 - BAR - 0.14
    axes.text(0, text, shortened(name, LONGEST_NAME), transform=place, va="bottom", fontsize=8)
    axes.text(1, text, told, transform=place, ha="right", va="bottom", fontsize=8, color=DIM)
    axes.barh(row + 1 - BAR / 2 - 0.08, length, height=BAR, color=colour)


def _share(part: float, whole: float) -> str:
    return f", {part / whole:.0%}" if whole > 0 else ""


def _told(move: Move) -> str:
    if move.base_ms is None:
        return f"new, {move.head_ms or 0:.3f} ms"
    if move.head_ms is None:
        return f"gone, was {move.base_ms:.3f} ms"
    return f"{move.base_ms:.3f} to {move.head_ms:.3f} ms"
