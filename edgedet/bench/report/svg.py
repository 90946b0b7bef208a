"""Charts as SVG inside a page, in colours that the page's style chooses."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure

from edgedet.bench.layers.plot import COLOURS

WIDTH = 4.8
"""Inches of a chart: on a telephone's 350 pixels, texts of 9 points are as many pixels high."""

INK, DIM, LINE = "#010101", "#666666", "#b0b0b0"
"""Texts and axes, what stands behind them, and grids."""

SETTINGS: Any = {
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "edgedet",
    "font.size": 9.0,
    "axes.edgecolor": DIM,
    "axes.labelcolor": DIM,
    "text.color": INK,
    "xtick.color": DIM,
    "ytick.color": DIM,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "grid.color": LINE,
}
"""Of matplotlib, which types the keys in newer versions alone."""

VARIABLES = {
    INK: "ink",
    "#000000": "ink",
    DIM: "dim",
    "#999999": "dim",
    LINE: "line",
    "#cccccc": "line",
    "#ffffff": "paper",
    **{colour: f"series-{place}" for place, colour in enumerate(COLOURS)},
}
"""The style's variable for each colour that is drawn with. Those of `edgedet.bench.layers.plot` are among them."""

COLOUR = re.compile(r"#[0-9a-f]{6}\b")
FONTS = re.compile(r"'DejaVu Sans'[^;]*")
REFERENCE = re.compile(r"url\(#([^)]*)\)")


def colour_of(place: int) -> str:
    """The colour of a run by its place on the page; they repeat after six, which is why charts name runs in words."""
    return COLOURS[place % len(COLOURS)]


@contextmanager
def drawing() -> Iterator[None]:
    """Figures that are made inside take texts as they are: `$` begins no formula. Texts stay texts in the SVG."""
    # Scripts that the font for measuring lacks are drawn by the browser.
    with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def inline_svg(figure: Figure, name: str, description: str) -> str:
    """A figure as an `<svg>` element.

    Args:
        figure: it is drawn here.
        name: goes before each id, so that figures of one page do not take each other's clips and marks.
        description: for those who do not see it.
    """
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(file.getvalue())
    for element in root.iter():
        element.tag = element.tag.partition("}")[2]
        element.attrib = {_local(key): _value(_local(key), value, name) for key, value in element.attrib.items()}
        element.tail = None
    for parent in root.iter():
        # matplotlib's own style is of all elements that it meets, the page's too.
        for child in [child for child in parent if child.tag in ("style", "metadata")]:
            parent.remove(child)
    for size in ("width", "height"):
        del root.attrib[size]
    root.attrib |= {"class": "chart", "role": "img", "aria-label": description}
    return ElementTree.tostring(root, encoding="unicode")


def _local(key: str) -> str:
    """Without the namespace: HTML knows SVG's elements by their names."""
    return key.rpartition("}")[2]


def _value(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return f"#{name}-{value.removeprefix('#')}"
    if key == "style":
        value = FONTS.sub("system-ui, sans-serif", value)
        value = COLOUR.sub(lambda found: f"var(--{VARIABLES.get(found[0], 'dim')})", value)
    return REFERENCE.sub(lambda found: f"url(#{name}-{found[1]})", value)
