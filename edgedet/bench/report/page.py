"""The report's page: one HTML file that needs no network and runs no script."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from edgedet import __version__
from edgedet.bench.report.accuracy import accuracy_figure, points_of
from edgedet.bench.report.detections import detections_markup
from edgedet.bench.report.groups import by_protocol
from edgedet.bench.report.latency import latency_figure, latency_note
from edgedet.bench.report.layers import has_roofline, layers_figure, moves_figure, report_roofline
from edgedet.bench.report.markup import card, grid, listed, paragraph, section
from edgedet.bench.report.protocols import differences_markup, protocol_table, protocol_words
from edgedet.bench.report.runs import Contents, Gate, Run, read_contents
from edgedet.bench.report.style import style
from edgedet.bench.report.summary import doubts, gate_markup, summary_table
from edgedet.bench.report.svg import VARIABLES, colour_of, drawing, inline_svg
from edgedet.files import write_text

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""Whatever a stranger's file brought in, a browser loads nothing and runs nothing."""


def write_report(sources: Sequence[Path], out: Path) -> Contents:
    """Writes the page of results, all or nothing.

    Args:
        sources: what `edgedet bench` and `edgedet gate` wrote with `--save`.
        out: the HTML file.

    Returns:
        What the page shows.

    Raises:
        EdgedetError: a file is missing or holds something else, or the page cannot be written.
        ModuleNotFoundError: matplotlib is not installed.
    """
    contents = read_contents(sources)
    write_text(out, page(contents))
    return contents


def page(contents: Contents) -> str:
    """The page as HTML."""
    runs = contents.runs
    drawn = {run.name: colour_of(place) for place, run in enumerate(runs)}
    styled = {name: f"var(--{VARIABLES[colour]})" for name, colour in drawn.items()}
    groups = by_protocol(runs)
    with drawing():
        parts = [
            f"<h1>Latency of {_counted(len(runs), 'run')}</h1>",
            paragraph(_introduction(contents, len(groups)), "dim"),
            summary_table(groups, styled),
            *map(gate_markup, contents.gates),
            *(_group_section(number, group, groups, drawn) for number, group in enumerate(groups, start=1)),
            *_layer_sections(contents, drawn),
            *_detection_sections(runs),
            section("Protocol", paragraph("All that the figures depend on besides the model."), protocol_table(groups)),
        ]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>edgedet report</title>'
        f"<style>{style()}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _introduction(contents: Contents, protocols: int) -> str:
    moments = sorted(run.result.measured_at for run in contents.runs)
    days = list(dict.fromkeys(f"{moment:%d %B %Y}" for moment in (moments[0], moments[-1])))
    caution = "" if protocols == 1 else f" under {protocols} protocols: compare only runs of the same one"
    return f"Measured {' to '.join(days)}{caution}. Made by edgedet {__version__}."


def _group_section(
    number: int, group: Sequence[Run], groups: Sequence[Sequence[Run]], colours: Mapping[str, str]
) -> str:
    heading = "Latency and accuracy" if len(groups) == 1 else f"Protocol {number}"
    latency = inline_svg(latency_figure(group, colours), f"latency-{number}", f"latencies of {_named(group)}")
    reading = "The further left, the faster; the narrower a hill, the steadier. The line is the median, the dots p99."
    warned = [f"{run.name}: {doubt}" for run in group for doubt in doubts(run)]
    note = latency_note(group)
    cards = [card("Latency", reading, latency + (paragraph(note, "how") if note else "") + listed(warned))]
    if points_of(group):
        svg = inline_svg(accuracy_figure(group, colours), f"accuracy-{number}", f"accuracy of {_named(group)}")
        reading = "Up and to the left is better. The dashed line joins the runs that no other one here beats."
        cards.append(card("Accuracy against latency", reading, svg))
    return section(heading, paragraph(protocol_words(group), "dim"), differences_markup(groups[0], group), grid(cards))


def _layer_sections(contents: Contents, colours: Mapping[str, str]) -> Iterator[str]:
    cards = []
    for number, run in enumerate(contents.runs):
        cards += list(_layer_cards(run, number, colours[run.name]))
    for number, gate in enumerate(contents.gates):
        cards += list(_move_cards(gate, number))
    if cards:
        yield section("Layers", grid(cards))


def _layer_cards(run: Run, number: int, colour: str) -> Iterator[str]:
    table = run.layers
    if table is None or not table.layers:
        return
    svg = inline_svg(layers_figure(table, colour), f"layers-{number}", f"layers of {run.name}")
    reading = f"The longer the bar, the more of a run the layer takes: {len(table.layers)} layers, {table.runtime}."
    yield card(f"Where the time goes: {run.name}", reading, svg + listed(table.notes))
    if has_roofline(table):
        svg = inline_svg(report_roofline(table), f"roofline-{number}", f"roofline of {run.name}")
        reading = "A dot is a layer, as large as its time. The nearer to the roof above it, the less is left to gain."
        yield card(f"Roofline: {run.name}", reading, svg)


def _move_cards(gate: Gate, number: int) -> Iterator[str]:
    if not gate.moves:
        return
    reading = f"To the right layers in which {gate.head.name} takes longer than {gate.base.name}, to the left shorter."
    svg = inline_svg(moves_figure(gate.moves), f"moves-{number}", f"layers that moved: {gate.head.name}")
    yield card("What moved", reading, svg)


def _detection_sections(runs: Sequence[Run]) -> Iterator[str]:
    pictures = detections_markup(runs)
    if pictures:
        reading = "The same image beside itself, a picture for each model; a box under the pointer says its score."
        yield section("Detections", paragraph(reading, "how"), pictures)


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'s' * (count != 1)}"


def _named(runs: Sequence[Run]) -> str:
    return ", ".join(run.name for run in runs)
