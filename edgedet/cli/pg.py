"""`edgedet pg`: what precision gating does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgedet.cli import output
from edgedet.cli.measuring import ThreadsOption
from edgedet.cli.options import OperatorsOption
from edgedet.errors import EdgedetError

app = typer.Typer(help="Look at the gates of a detector.", no_args_is_help=True, rich_markup_mode=None)

PICTURES = (".png", ".jpg", ".jpeg")
ACCURACY = {
    "gated": "as trained",
    "full": "all bits everywhere",
    "high": "high bits alone",
    "random": "as many updates, at random",
    "one": "about as many, by one threshold",
    "static": "as many bits, layer by layer",
    "uniform": "{uniform_bits} bits, ends fitted",
    "uniform_all": "all bits, ends fitted",
}
FILES = {
    "full": "without gates, all bits",
    "gated": "gated, by the library of operators",
    "gated_body": "gated, by stock ONNX Runtime",
    "high": "without gates, high bits alone",
    "float": "float32",
}


@app.callback()
def _verbs() -> None:
    """Keeps `report` a verb of its own while it is the only one."""


@app.command()
def report(
    model: Annotated[Path, typer.Argument(help="Checkpoint of `edgedet train --pg`.", show_default=False)],
    data: Annotated[Path, typer.Argument(help="Dataset: COCO, Pascal VOC or YOLO.", show_default=False)],
    split: Annotated[str, typer.Option(help="Split to look at.")] = "val",
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many images.", show_default="all")] = None,
    picture: Annotated[
        Path | None,
        typer.Option(help="Draw where gates open on the split's first image: .png or .jpg.", show_default="none"),
    ] = None,
    latency: Annotated[
        bool, typer.Option("--latency", help="Time files of the weights with gates, without, and in float.")
    ] = False,
    operators: OperatorsOption = None,
    threads: ThreadsOption = 1,
    json_: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """How often gates open in each layer, bits multiplied, and accuracy beside other gates of the same weights."""
    from edgedet.deploy.gate_latency import time_gates
    from edgedet.quant.gate_picture import draw_gates
    from edgedet.quant.gate_report import report_gates

    if picture is not None and picture.suffix.lower() not in PICTURES:
        raise EdgedetError("no picture has this ending", where=picture, fix="end it in .png or .jpg")
    if operators is not None:
        _require_library(operators, latency=latency)
    result = report_gates(model, data, split=split, limit=limit, track=output.track).to_dict()
    if picture is not None:
        draw_gates(model, data, split, picture)
    if not latency:
        output.emit(result, json_, _render)
        return
    if not json_:
        _render(result)  # what is known stays known, whatever becomes of the timing
    times = time_gates(model, data, split=split, operators=operators, threads=threads, track=output.track)
    result["latency"] = times.to_dict()
    output.emit(result, json_, lambda whole: _render_latency(whole["latency"]))


def _require_library(operators: Path, *, latency: bool) -> None:
    """Before anything long is begun."""
    if not latency:
        raise EdgedetError("nothing is timed with it", where="--operators", fix="add --latency, or leave it out")
    if not operators.is_file():
        raise EdgedetError(
            "no such library of operators", where=operators, fix="check the path, or build it: make operators"
        )


def _render(result: dict[str, Any]) -> None:
    rows = [
        [
            one["layer"],
            f"{one['macs'] / 1e6:.2f}",
            *(f"{one[name]:.0%}" for name in ("open", "open_p5", "open_p50", "open_p95", "open_pixels", "open_tiles")),
            f"{one['bits']:.2f}",
        ]
        for one in result["layers"]
    ]
    headers = ["layer", "MMAC", "open", "p5", "p50", "p95", "pixels", "8x8 tiles", "bits"]
    output.table(headers, rows, title=f"gates on {result['images']} images of {result['split']}")
    full = result["full_bit_operations"]
    named = {name: result[f"{name}_operations"] / full for name in ("bit", "tile_bit", "high_bit")}
    print(f"bits multiplied, on average: {result['bits']:.2f}, {named['bit']:.0%} of the gated layers' bit operations")
    print(f"were whole tiles updated: {named['tile_bit']:.0%}; high bits alone: {named['high_bit']:.0%}")
    print("none of these is a time: --latency measures it")
    names = {name: text.format(**result) for name, text in ACCURACY.items()}
    output.table(["gates", "AP50-95"], [[names[name], f"{value:.4f}"] for name, value in result["accuracy"].items()])


def _render_latency(result: dict[str, Any]) -> None:
    rows = [
        [FILES[name], f"{one['median_ms']:.2f}", f"{one['p95_ms']:.2f}", f"{one['ratio']:.2f}"]
        for name, one in result["files"].items()
    ]
    title = f"{result['runtime']}, threads: {result['threads']}, {result['runs']} runs each, in turn"
    output.table(["file", "median ms", "p95 ms", "to all bits"], rows, title=title)
