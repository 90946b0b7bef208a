"""`edgedet report`: measurements as one page to look at and to hand on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="What edgedet bench and edgedet gate wrote with --save.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="HTML", help="The page to write.")] = Path("report.html"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write one HTML page of measurements: latency, accuracy, layers, detections and the protocol.

    The page needs no network and runs no script. Runs of different protocols are kept apart.
    """
    from edgedet.bench.report.page import write_report
    from edgedet.cli import measuring, output
    from edgedet.files import require_output

    require_output(out, ".html")
    measuring.require_outputs([out], runs, "what is to be shown")
    contents = write_report(runs, out)
    output.emit({"page": out, "runs": [run.name for run in contents.runs]}, as_json, _render)


def _render(result: dict[str, Any]) -> None:
    from edgedet.cli import output

    print(output.printable(str(result["page"])))
