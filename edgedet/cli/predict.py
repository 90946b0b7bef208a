"""`edgedet predict`: detections in images, videos, cameras and streams."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgedet.cli.options import AllowCodeOption, ForceOption, OperatorsOption

if TYPE_CHECKING:
    from edgedet.runtime.predict import Prediction


def command(
    model: Annotated[Path, typer.Argument(help="Model file: .onnx, .engine or .pt.")],
    source: Annotated[
        str, typer.Argument(help="Image, folder, pattern ('photos/**/*.jpg'), video, camera number, or rtsp/http URL.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the drawn images or video.")] = Path("runs/predict"),
    save: Annotated[bool, typer.Option(help="Draw the detections into --out.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a frame on stdout.")] = False,
    score: Annotated[
        float | None, typer.Option(min=0, max=1, help="Lowest score shown.", show_default="the model's")
    ] = None,
    iou: Annotated[
        float | None, typer.Option(min=0, max=1, help="Overlap above which boxes merge.", show_default="the model's")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--max", min=1, help="Stop after so many frames.", show_default="all")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads for inference.", show_default="one a core")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    operators: OperatorsOption = None,
    force: ForceOption = False,
    allow_code: AllowCodeOption = False,
) -> None:
    """Detect objects and draw them."""
    from contextlib import closing
    from functools import partial

    from edgedet.cli.output import console, emit, printable
    from edgedet.runtime.load import load_detector
    from edgedet.runtime.predict import predict
    from edgedet.runtime.sources import open_source

    frames = open_source(source)
    detector = load_detector(
        model, threads=threads, device=device, operators=operators, force=force, allow_code=allow_code
    )
    detector = detector.with_postprocess(score_threshold=score, iou_threshold=iou)
    done, stopped = 0, False
    try:
        with closing(predict(detector, frames, out=out if save else None, limit=limit)) as predictions:
            for prediction in predictions:
                emit(prediction.to_dict(), as_json, partial(_print_summary, prediction))
                done += 1
    except KeyboardInterrupt:
        stopped = True
    finally:
        _report_skipped(frames.skipped)
    if save and done:
        console().print(printable(f"drawn: {out}"))
    if stopped and (frames.video is None or not frames.video.is_live):
        raise KeyboardInterrupt


def _print_summary(prediction: Prediction, _: dict[str, Any]) -> None:
    from edgedet.cli.output import printable

    print(printable(prediction.summary()), flush=True)


def _report_skipped(skipped: list[str]) -> None:
    from edgedet.cli.output import console, printable

    if skipped:
        shown = "; ".join(skipped[:3]) + (f"; and {len(skipped) - 3} more" if len(skipped) > 3 else "")
        count = "1 image" if len(skipped) == 1 else f"{len(skipped)} images"
        console().print(printable(f"warning: skipped {count} that could not be read: {shown}"))
