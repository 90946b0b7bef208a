"""`edgedet quantize`: an INT8 checkpoint from a float one, with its accuracy beside the float one's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgedet.cli import output

SHOWN_EDGES = 15


def command(
    model: Annotated[Path, typer.Argument(help="Float checkpoint (.pt).", show_default=False)],
    data: Annotated[Path, typer.Argument(help="Dataset: calibrated on and evaluated on.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="Checkpoint to write.", show_default="MODEL-int8.pt beside it")
    ] = None,
    images: Annotated[int, typer.Option(help="Images to calibrate on, spread evenly over the split.")] = 128,
    split: Annotated[str, typer.Option(help="Split to calibrate on.")] = "train",
    eval_split: Annotated[str, typer.Option(help="Split to evaluate both on.")] = "val",
    method: Annotated[str, typer.Option(help="How a grid's end is chosen: mse, max, percentile or entropy.")] = "mse",
    keep_float: Annotated[
        list[str] | None,
        typer.Option(metavar="N|EDGE", help="So many of the worst edges stay float, or the one named; repeatable."),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(min=0.0, help="Points of mAP that may be lost: worst edges stay float until no more are."),
    ] = None,
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="Show what rounding each edge alone costs, the worst first.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Calibrate a checkpoint to INT8 on your images and compare the two."""
    from edgedet.quant.ptq import quantize_checkpoint

    result = quantize_checkpoint(
        model,
        data,
        out,
        method=method,
        images=images,
        split=split,
        eval_split=eval_split,
        keep_float=[word for word in keep_float or () if not word.isdecimal()],
        keep_worst=max((int(word) for word in keep_float or () if word.isdecimal()), default=0),
        max_drop=max_drop,
        sensitivity=sensitivity,
        track=output.track,
    )
    output.emit(result.to_dict(), as_json, _render)


def _render(result: dict[str, Any]) -> None:
    classes = zip(result["float"]["classes"], result["int8"]["classes"], strict=True)
    rows = [[before["name"], before["objects"], *_pair(before["ap"], after["ap"])] for before, after in classes]
    objects = sum(one["objects"] for one in result["float"]["classes"])
    rows.append(["all", objects, *_pair(result["float"]["map"], result["int8"]["map"])])
    output.table(
        ["class", "objects", "float AP50-95", "INT8 AP50-95", "difference"],
        rows,
        title=f"on {result['split']}",
    )
    if result["sensitivity"]:
        rounded = [one for one in result["sensitivity"] if one["edge"] not in result["recipe"]["keep_float"]]
        worst = [
            [one["edge"], f"{one['error']:.2%}", _share(result["regained"].get(one["edge"]))]
            for one in rounded[:SHOWN_EDGES]
        ]
        headers = ["edge", "error of the logits, rounded alone", "AP50-95 with it float too"]
        output.table(headers, worst, title="worst edges")
    if kept := result["recipe"]["keep_float"]:
        print(f"kept float: {', '.join(kept)}")
    calibration = result["recipe"]["calibration"]
    print(f"rank correlation of the scores: {result['rank_correlation']:.4f}")
    print(f"{result['path']}: {result['edges']} grids by {calibration['method']} on {calibration['images']} images")
    print(f"next: edgedet export {result['path']} --target ort-cpu")


def _share(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"


def _pair(before: float | None, after: float | None) -> tuple[str, str, str]:
    if before is None or after is None:
        return "-", "-", "-"
    return f"{before:.4f}", f"{after:.4f}", f"{after - before:+.4f}"
