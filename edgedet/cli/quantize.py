"""`edgedet quantize`: an INT8 checkpoint from a float one, with its accuracy beside the float one's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgedet.cli import output


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
    keep_float: Annotated[list[str] | None, typer.Option(help="An edge that is not rounded; may be repeated.")] = None,
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
        keep_float=keep_float or (),
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
    calibration = result["recipe"]["calibration"]
    print(f"rank correlation of the scores: {result['rank_correlation']:.4f}")
    print(f"{result['path']}: {result['edges']} grids by {calibration['method']} on {calibration['images']} images")
    print(f"next: edgedet export {result['path']} --target ort-cpu")


def _pair(before: float | None, after: float | None) -> tuple[str, str, str]:
    if before is None or after is None:
        return "-", "-", "-"
    return f"{before:.4f}", f"{after:.4f}", f"{after - before:+.4f}"
