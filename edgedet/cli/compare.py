"""`edgedet compare`: where two models first compute something else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgedet.cli import output
from edgedet.errors import CheckFailedError


def command(
    a: Annotated[Path, typer.Argument(metavar="A", help="The reference: .pt or .onnx.", show_default=False)],
    b: Annotated[Path, typer.Argument(metavar="B", help="What is held to it: .pt or .onnx.", show_default=False)],
    data: Annotated[
        Path | None, typer.Option(help="Dataset or image to compare on.", show_default="8 generated images")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Tensors shown: the first to diverge, or where most adds up.")] = 8,
    loosen: Annotated[float, typer.Option(min=0.01, help="Multiply the tolerances of tensors by this.")] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, with every tensor.")] = False,
) -> None:
    """Find the tensor from which two models differ; exit 1 if any does.

    Each tensor of B is held to what A computes of the tensors that B computed before, so that only what differs
    right there counts: where both round, B may be half a step of its grid off.
    """
    from functools import partial

    from edgedet.graph.comparison.result import finding
    from edgedet.graph.comparison.run import compare_files

    found = compare_files(a, b, data=data, loosen=loosen, track=partial(output.track, unit="images"))
    output.emit(found.to_dict(), as_json, lambda result: _render(result, limit))
    if not found.agrees:
        raise CheckFailedError(finding(found), where=b)


def _render(result: dict[str, Any], limit: int) -> None:
    engines = " and ".join(dict.fromkeys(result["engines"]))
    count = "1 image" if result["images"] == 1 else f"{result['images']} images"
    on = f"{count} ({result['source']})" if result["images"] else result["source"]
    print(output.printable(f"A: {result['a']}\nB: {result['b']}"))
    left = f"{len(result['only_in_a'])} are only in A, {len(result['only_in_b'])} only in B"
    print(output.printable(f"{len(result['tensors'])} tensors compared on {on} with {engines}; {left}"))
    diverging = [tensor for tensor in result["tensors"] if tensor["diverges"]]
    most = sorted(result["tensors"], key=lambda tensor: -tensor["accumulated"])
    columns = ("error", "tolerance", "accumulated")
    output.table(
        ["tensor", "by itself", "tolerance", "accumulated", "unit"],
        [[one["name"], *(f"{one[key]:.3g}" for key in columns), one["unit"]] for one in (diverging or most)[:limit]],
        title="the first tensors that diverge" if diverging else "no tensor diverges by itself; what adds up most:",
    )
    if agreement := result["agreement"]:
        print(
            f"boxes within {agreement['box_error']:.2g} px (tolerance {agreement['box_tolerance']:g}), "
            f"scores within {agreement['score_error']:.2g} (tolerance {agreement['score_tolerance']:g})"
        )
