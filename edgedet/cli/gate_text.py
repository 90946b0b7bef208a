"""What a comparison of two models prints, and the exit code that it ends with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgedet.cli import output

if TYPE_CHECKING:
    from edgedet.bench.gate import GateResult
    from edgedet.bench.layers.moved import Move

EXIT_CODES = {"pass": 0, "fail": 1, "inconclusive": 3}


def finish(found: GateResult, *, save: Path | None, as_json: bool) -> None:
    """Writes and prints it, and ends with its exit code.

    Raises:
        typer.Exit: with 0, 1 or 3.
        KeyboardInterrupt: it was interrupted.
    """
    if save is not None:
        from edgedet.files import write_json

        write_json(save, found.to_dict())
    output.emit(found.to_dict(), as_json, lambda _: render(found))
    if found.comparison.interrupted:
        raise KeyboardInterrupt
    raise typer.Exit(EXIT_CODES[found.outcome])


def render(found: GateResult) -> None:
    """The verdict, what it rests on, and which layers moved."""
    from edgedet.bench.summary import SHOWN_LAYERS, disturbance_lines, sentences

    rows = [
        [
            arm,
            f"{times.latency.median:.3f}",
            *(f"{value:.3f}" for value in times.latency.percentiles.values()),
            times.outliers,
        ]
        for arm, times in found.comparison.arms.items()
    ]
    percentages = next(iter(found.comparison.arms.values())).latency.percentiles
    output.table(["ms", "median", *(f"p{value:g}" for value in percentages), "outliers"], rows)
    _render_moves(found.moves[:SHOWN_LAYERS])
    for line in (*sentences(found), *disturbance_lines(found)):
        print(output.printable(line))


def _render_moves(moves: Sequence[Move]) -> None:
    if moves:
        output.table(
            ["layer", "kind", "base, ms", "head, ms", "difference"],
            [
                [move.label, move.kind, _ms(move.base_ms), _ms(move.head_ms), f"{move.difference_ms:+.4f}"]
                for move in moves
            ],
        )


def _ms(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"
