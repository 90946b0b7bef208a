"""`edgedet eval`: how good a model, or anyone's results file, is on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedet.cli import output
from edgedet.cli.eval_text import render
from edgedet.cli.options import AllowCodeOption, ForceOption, OperatorsOption
from edgedet.errors import EdgedetError


def command(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="[MODEL] DATA",
            help="Model (.pt, .onnx) and dataset (COCO json, VOC or YOLO); only the dataset with --predictions.",
            show_default=False,
        ),
    ],
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Score this COCO results file instead of a model.", show_default="a model is evaluated"
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Which list of the dataset.", show_default="the only one, else val")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images that are run together.")] = 8,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads for inference.", show_default="the backend's choice")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.", show_default="cpu")] = None,
    operators: OperatorsOption = None,
    force: ForceOption = False,
    allow_code: AllowCodeOption = False,
    speed: Annotated[bool, typer.Option("--speed", help="Print the milliseconds that each stage takes.")] = False,
    save_predictions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the detections as a COCO results file.", show_default="not written"),
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Draw the precision-recall curve there, and what --f1, --confusion and --errors find.",
            show_default="not drawn",
        ),
    ] = None,
    voc: Annotated[bool, typer.Option("--voc", help="Pascal VOC's AP: by 11 points (2007) and by all points.")] = False,
    f1: Annotated[bool, typer.Option("--f1", help="The score threshold with the highest F1.")] = False,
    confusion: Annotated[bool, typer.Option("--confusion", help="Which class is taken for which.")] = False,
    errors: Annotated[
        bool, typer.Option("--errors", help="Errors by cause, and the AP that each cause costs (TIDE).")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="--voc, --f1, --confusion and --errors.")] = False,
    score: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="--confusion counts detections with a score above this.", show_default="0.25"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Evaluate a model on labelled images: COCO metrics, per class and by size of object.

    With --predictions it takes the dataset alone and scores a COCO results file, so that any detector can be compared:
    edgedet eval --predictions results.json DATA. For VOC and YOLO data, category_id counts the classes from 1, and
    image_id is the image's place in the split, from 0, or its file name.
    """
    from functools import partial

    from edgedet.evaluate import run
    from edgedet.evaluate.analysis import Wanted
    from edgedet.evaluate.confusion import SCORE_THRESHOLD

    wanted = Wanted(
        voc=voc or everything,
        f1=f1 or everything,
        confusion=confusion or everything,
        errors=errors or everything,
        confusion_score=SCORE_THRESHOLD if score is None else score,
    )
    if score is not None and not wanted.confusion:
        raise EdgedetError("--score needs --confusion", fix="add --confusion, or leave --score out")
    if predictions is not None:
        _require_no_model_options(
            threads=threads,
            device=device,
            operators=operators,
            force=force or None,
            allow_code=allow_code or None,
            save_predictions=save_predictions,
            speed=speed or None,
        )
        (data,) = _expect(paths, 1, "edgedet eval --predictions results.json DATA")
        evaluation = run.evaluate_results(predictions, data, split=split, plots=plots, wanted=wanted)
    else:
        model, data = _expect(paths, 2, "edgedet eval MODEL DATA")
        evaluation = run.evaluate_model(
            model,
            data,
            split=split,
            batch=batch,
            threads=threads,
            device=device,
            operators=operators,
            force=force,
            allow_code=allow_code,
            save_predictions=save_predictions,
            plots=plots,
            wanted=wanted,
            track=partial(output.track, unit="images", per_item=batch),
        )
    output.emit(evaluation.to_dict(), as_json, lambda result: render(result, with_speed=speed))


def _expect(paths: list[Path], count: int, form: str) -> list[Path]:
    if len(paths) != count:
        listed = " ".join(map(str, paths))
        raise EdgedetError(f"{len(paths)} paths given ({listed}), {count} expected", fix=f"write {form}")
    return paths


def _require_no_model_options(**options: object) -> None:
    for name, value in options.items():
        if value is not None:
            option = f"--{name.replace('_', '-')}"
            raise EdgedetError(f"{option} needs a model, not --predictions", fix=f"leave {option} out")
