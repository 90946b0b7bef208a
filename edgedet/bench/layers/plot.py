"""A table of layers under the device's roofline. This alone needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from edgedet.bench.layers.peak import Peak
from edgedet.bench.layers.table import Layer, LayerTable
from edgedet.errors import EdgedetError
from edgedet.files import atomic_path

LABELLED = 5
LARGEST_AREA = 500.0
"""Of the dot of the layer that takes longest, in square points."""

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Of kinds, those that take longest first; M. Okabe, K. Ito, "Color Universal Design", 2008. The rest is grey."""

LONGEST_LABEL = 36


def roofline_figure(table: LayerTable) -> Figure:
    """Multiply-accumulates a second over multiply-accumulates a byte, both axes logarithmic: a dot for each layer.

    Dots are as large as their layers' times, and coloured by kind. The roofs are the peak's: memory rises from the
    left, products of float32 and of integers end it. Layers that multiply nothing have no place; the title says so.

    Raises:
        EdgedetError: no layer has both MACs and bytes.
    """
    layers = [layer for layer in table.costliest_first() if layer.macs_per_byte and layer.achieved_gmacs]
    if not layers:
        fix = "install onnx, and for an engine give the ONNX file that it was built of"
        raise EdgedetError("no layer has MACs: there is nothing to draw", where=table.runtime, fix=fix)
    figure = Figure(figsize=(9, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set(xscale="log", yscale="log", xlabel="MAC per byte", ylabel="GMAC/s")
    _draw_layers(axes, layers)
    if table.peak is not None:
        _draw_roofs(axes, table.peak, layers)
    _label(axes, layers[:LABELLED])
    share = sum(layer.share or 0.0 for layer in layers)
    axes.set_title(f"{_plain(table.runtime)}: {len(layers)} layers with products, {share:.0%} of the layers' time")
    axes.grid(alpha=0.3)
    return figure


def save_roofline(table: LayerTable, path: Path) -> None:
    """Writes `roofline_figure` as a PNG, all or nothing."""
    figure = roofline_figure(table)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _draw_layers(axes: Axes, layers: Sequence[Layer]) -> None:
    times: dict[str, float] = {}
    for layer in layers:
        times[layer.kind] = times.get(layer.kind, 0.0) + layer.milliseconds
    kinds = sorted(times, key=lambda kind: -times[kind])
    longest = max(layer.milliseconds for layer in layers)
    handles = []
    for place, kind in enumerate(kinds):
        colour = COLOURS[place] if place < len(COLOURS) else "0.6"
        own = [layer for layer in layers if layer.kind == kind]
        axes.scatter(
            [layer.macs_per_byte or 0.0 for layer in own],
            [layer.achieved_gmacs or 0.0 for layer in own],
            s=[LARGEST_AREA * layer.milliseconds / longest for layer in own],
            color=colour,
            alpha=0.55,
            edgecolors="white",
            linewidths=0.5,
        )
        label = f"{_plain(kind)} ({times[kind]:.3g} ms)"
        handles.append(Line2D([], [], linestyle="", marker="o", color=colour, label=label))
    axes.legend(handles=handles, loc="lower right")


def _draw_roofs(axes: Axes, peak: Peak, layers: Sequence[Layer]) -> None:
    intensities = [layer.macs_per_byte or 0.0 for layer in layers]
    roofs = {"float32": peak.float32_gmacs, "integers": peak.integer_gmacs}
    bandwidth = peak.gigabytes_per_second
    right = max([*intensities, *(roof / bandwidth for roof in roofs.values())]) * 3
    x = np.geomspace(min(intensities) / 2, right, 200)
    for style, (name, roof) in zip(("-", "--"), roofs.items(), strict=True):
        axes.plot(x, np.minimum(roof, x * bandwidth), color="black", linewidth=1.2, linestyle=style, zorder=1)
        axes.annotate(
            f"{name}: {roof:.3g} GMAC/s",
            (right, roof),
            xytext=(0, 3),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=8,
        )
    axes.annotate(
        f"memory: {bandwidth:.3g} GB/s",
        (x[0], x[0] * bandwidth),
        xytext=(4, -2),
        textcoords="offset points",
        va="top",
        fontsize=8,
    )


def _label(axes: Axes, layers: Sequence[Layer]) -> None:
    """Names beside the plot's left edge, each with a line to its dot, the highest dot's at the top."""
    ordered = sorted(layers, key=lambda layer: -(layer.achieved_gmacs or 0.0))
    for place, layer in enumerate(ordered):
        name = layer.label if len(layer.label) <= LONGEST_LABEL else f"…{layer.label[1 - LONGEST_LABEL :]}"
        axes.annotate(
            f"{_plain(name)}, {layer.milliseconds:.3g} ms",
            (layer.macs_per_byte or 0.0, layer.achieved_gmacs or 0.0),
            xytext=(0.02, 0.97 - 0.05 * place),
            textcoords="axes fraction",
            va="top",
            fontsize=8,
            arrowprops={"arrowstyle": "-", "color": "0.4", "linewidth": 0.7, "relpos": (1, 0.5)},
        )


def _plain(text: str) -> str:
    """A text that matplotlib does not read as a formula."""
    return text.replace("$", r"\$")
