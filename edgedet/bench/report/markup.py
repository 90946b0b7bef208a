"""HTML of texts that strangers wrote."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from edgedet.bench.report.cleaning import plain


@dataclass(frozen=True)
class Markup:
    """What is HTML already, and must not be escaped again.

    Attributes:
        html: well-formed.
    """

    html: str


Cell = str | Markup


def escaped(value: Cell) -> str:
    """As HTML can hold it, in texts and in attributes between quotation marks."""
    return value.html if isinstance(value, Markup) else html.escape(plain(value))


def paragraph(value: Cell, kind: str = "") -> str:
    """A paragraph of a class of the style."""
    return f'<p class="{kind}">{escaped(value)}</p>' if kind else f"<p>{escaped(value)}</p>"


def listed(values: Iterable[Cell]) -> str:
    """A list; nothing where there is nothing to list."""
    items = "".join(f"<li>{escaped(value)}</li>" for value in values)
    return f"<ul>{items}</ul>" if items else ""


def table(
    headers: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    numbers: Collection[str] = (),
    marked: Collection[int] = (),
) -> str:
    """A table that scrolls by itself where it is wider than the page.

    Args:
        headers: of the columns; the first names the row.
        rows: cells in the order of the headers.
        numbers: headers of the columns that are flush right.
        marked: places of rows that differ from column to column.
    """
    kinds = [' class="number"' if header in numbers else "" for header in headers]
    head = "".join(f'<th scope="col"{kind}>{escaped(header)}</th>' for header, kind in zip(headers, kinds, strict=True))
    lines = []
    for place, (first, *rest) in enumerate(rows):
        cells = "".join(f"<td{kind}>{escaped(cell)}</td>" for cell, kind in zip(rest, kinds[1:], strict=True))
        start = '<tr class="differs">' if place in marked else "<tr>"
        lines.append(f'{start}<th scope="row">{escaped(first)}</th>{cells}</tr>')
    # A keyboard scrolls what can take the focus.
    return (
        f'<div class="wide" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def card(heading: str, reading: str, body: str) -> str:
    """A chart with its heading and one sentence that says how to read it.

    Args:
        heading, reading: texts.
        body: HTML.
    """
    return f'<figure class="card"><h3>{escaped(heading)}</h3>{paragraph(reading, "how")}{body}</figure>'


def grid(parts: Iterable[str]) -> str:
    """Cards beside each other where there is room."""
    return f'<div class="grid">{"".join(parts)}</div>'


def section(heading: str, *parts: str) -> str:
    """A section of the page; the parts are HTML."""
    return f"<section><h2>{escaped(heading)}</h2>{''.join(parts)}</section>"
