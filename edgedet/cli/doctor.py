"""`edgedet doctor`: what works on this device, what is missing, and how to get it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgedet.errors import CheckFailedError


def command(
    plugins: Annotated[
        list[Path] | None,
        typer.Option(metavar="LIB", help="Also open this library of edgedet's and try it.", show_default="none"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Look at this device, the packages, the GPU, TensorRT and the given libraries; exit 1 if one is broken."""
    from edgedet.cli import output
    from edgedet.doctor.check import BROKEN
    from edgedet.doctor.checks import check_all

    checks = [check.to_dict() for check in check_all(plugins or [])]
    output.emit({"checks": checks}, as_json, _render)
    broken = [check["name"] for check in checks if check["state"] == BROKEN]
    if broken:
        raise CheckFailedError(f"broken: {', '.join(broken)}")


def _render(result: dict[str, Any]) -> None:
    from edgedet.cli import output

    rows = []
    for check in result["checks"]:
        rows.append((check["state"], check["name"], check["detail"]))
        if check["fix"] is not None:
            rows.append(("", "", f"fix: {check['fix']}"))
    output.table(["state", "check", "found"], rows)
