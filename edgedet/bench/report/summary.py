"""The report's first screen: all runs in one table, and what gates said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from edgedet.bench.report.markup import Cell, Markup, escaped, listed, paragraph, table
from edgedet.bench.report.runs import Gate, Run
from edgedet.bench.result import Result
from edgedet.bench.summary import verdict_sentence

NUMBERS = (
    "protocol",
    "median, ms",
    "p99, ms",
    "images/s",
    "mAP50\N{NON-BREAKING HYPHEN}95",
    "memory, MB",
    "energy, mJ/image",
)
NONE = "–"


def summary_table(groups: Sequence[Sequence[Run]], colours: Mapping[str, str]) -> str:
    """A row for each run, by protocol.

    Args:
        groups: runs of one protocol each.
        colours: CSS colours by the runs' names.
    """
    headers = ("model", "device", *NUMBERS, "warnings")
    rows = [_row(run, number, colours[run.name]) for number, group in enumerate(groups, start=1) for run in group]
    return table(headers, rows, numbers=NUMBERS)


def doubts(run: Run) -> Iterator[str]:
    """Why a run's figures may be doubted, in words."""
    result = run.result
    if result.interrupted:
        yield "interrupted: these are the figures until then"
    for disturbance in result.disturbances:
        yield f"disturbed: {disturbance.what}"
    if result.model.random_weights:
        yield "random weights: it finds nothing"
    if result.memory is not None and result.memory.since_process_began:
        yield "memory: the most may have been taken before"
    if result.pace is not None and (result.pace.missed or result.pace.dropped):
        pace = result.pace
        yield f"at {pace.fps:g} images/s {pace.missed} of {pace.frames} missed their deadline, {pace.dropped} dropped"


def device_of(result: Result) -> str:
    """What it ran on."""
    computer = result.protocol.computer
    return computer.board or computer.gpu or computer.cpu


def gate_markup(gate: Gate) -> str:
    """What a gate said, in sentences."""
    lines = [
        f"{gate.head.name} held to {gate.base.name}: {gate.outcome}",
        verdict_sentence(gate.verdict),
    ]
    accuracy = gate.accuracy
    if accuracy is not None:
        lines.append(
            f"mAP50-95 {accuracy.base:.4f} to {accuracy.head:.4f} on {accuracy.images} images: "
            f"{-accuracy.drop:+.2f} points, {accuracy.max_drop:g} may be lost"
        )
    first, *rest = [*lines, *gate.notes]
    kind = gate.outcome if gate.outcome in ("pass", "fail") else "open"
    return f'<div class="verdict {kind}">{paragraph(Markup(f"<b>{escaped(first)}</b>"))}{listed(rest)}</div>'


def _row(run: Run, protocol: int, colour: str) -> list[Cell]:
    result, far = run.result, run.p99_ms
    memory, energy = result.memory, result.joules_per_image
    swatch = f'<i class="swatch" style="background:{colour}"></i>'
    return [
        Markup(f"{swatch}{escaped(run.name)}<br><small>{escaped(run.source.name)}</small>"),
        device_of(result),
        str(protocol),
        f"{result.latency.median:.2f}",
        NONE if far is None else f"{far:.2f}",
        f"{result.images_per_second:.1f}",
        NONE if result.map is None else f"{result.map:.4f}",
        NONE if memory is None else f"{memory.peak_resident_bytes / 1e6:.0f}",
        NONE if energy is None else f"{1e3 * energy:.3g}",
        Markup(listed(doubts(run)) or "none"),
    ]
