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
        str,
        typer.Argument(
            help="Image, folder, pattern ('photos/**/*.jpg'), video, camera (0, /dev/video0, csi:0), or rtsp/http URL."
        ),
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
    queue: Annotated[
        int, typer.Option(min=1, max=1000, help="Frames of a camera or stream that wait; the oldest are dropped.")
    ] = 1,
    reconnect: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long to try to open a lost camera or stream again.")
    ] = 30.0,
    silence: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="A camera or stream without frames for so long is lost.")
    ] = 10.0,
    ray: Annotated[
        bool, typer.Option("--ray", help="Detect in images in shards, through Ray Data; --out gets JSON lines.")
    ] = False,
    ray_address: Annotated[
        str | None, typer.Option(help="A Ray cluster that runs.", show_default="one is started for this run")
    ] = None,
    ray_workers: Annotated[
        int | None, typer.Option(min=1, help="Workers at most.", show_default="as many as there is room for")
    ] = None,
    shard_size: Annotated[int, typer.Option(min=1, max=100_000, help="Images a shard, with --ray.")] = 256,
    operators: OperatorsOption = None,
    force: ForceOption = False,
    allow_code: AllowCodeOption = False,
) -> None:
    """Detect objects and draw them."""
    from contextlib import closing
    from functools import partial

    from edgedet.cli.output import console, emit, printable
    from edgedet.config import parse
    from edgedet.interrupt import termination_as_interrupt
    from edgedet.runtime.load import load_detector
    from edgedet.runtime.predict import counts_summary, predict
    from edgedet.runtime.sources import LiveSettings, SourceLostError, open_source

    live = {"queue": queue, "reconnect_seconds": reconnect, "silence_seconds": silence}
    frames = open_source(source, parse(LiveSettings, live))
    if ray:
        from edgedet.cli.predict_ray import predict_in_shards
        from edgedet.runtime.fleet import DetectorSettings

        settings = DetectorSettings(
            model=str(model.resolve()),
            threads=threads or 1,
            device=device,
            operators=None if operators is None else str(operators.resolve()),
            force=force,
            allow_code=allow_code,
            score=score,
            iou=iou,
        )
        predict_in_shards(
            settings, frames, out, shard_size, limit, address=ray_address, workers=ray_workers, as_json=as_json
        )
        return
    detector = load_detector(
        model, threads=threads, device=device, operators=operators, force=force, allow_code=allow_code
    )
    detector = detector.with_postprocess(score_threshold=score, iou_threshold=iou)
    done, stopped = 0, None
    try:
        with (
            termination_as_interrupt(),
            closing(predict(detector, frames, out=out if save else None, limit=limit)) as predictions,
        ):
            for prediction in predictions:
                emit(prediction.to_dict(), as_json, partial(_print_summary, prediction))
                done += 1
    except (KeyboardInterrupt, SourceLostError) as error:
        stopped = error
    finally:
        _report_skipped(frames.skipped)
    if frames.counts is not None:
        console().print(counts_summary(frames.counts, done))
    if save and done:
        console().print(printable(f"drawn: {out}"))
    if isinstance(stopped, SourceLostError) or (stopped is not None and frames.counts is None):
        raise stopped


def _print_summary(prediction: Prediction, _: dict[str, Any]) -> None:
    from edgedet.cli.output import printable

    print(printable(prediction.summary()), flush=True)


def _report_skipped(skipped: list[str]) -> None:
    from edgedet.cli.output import console, printable

    if skipped:
        shown = "; ".join(skipped[:3]) + (f"; and {len(skipped) - 3} more" if len(skipped) > 3 else "")
        count = "1 image" if len(skipped) == 1 else f"{len(skipped)} images"
        console().print(printable(f"warning: skipped {count} that could not be read: {shown}"))
