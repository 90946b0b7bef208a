"""`edgedet train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgedet.cli import output
from edgedet.errors import EdgedetError

DEFAULT_OUT = Path("runs/train")


def command(
    data: Annotated[str | None, typer.Argument(help="Dataset: COCO, Pascal VOC or YOLO.", show_default=False)] = None,
    model: Annotated[str | None, typer.Option(help="A name of `edgedet models`. [default: shufflenetv2_1.0x]")] = None,
    imgsz: Annotated[int | None, typer.Option(help="Side of the input, a multiple of 32. [default: 320]")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images. [default: 100]")] = None,
    batch: Annotated[int | None, typer.Option(help="Images a step. [default: 8]")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = DEFAULT_OUT,
    weights: Annotated[
        str | None, typer.Option(help="Backbone weights: `imagenet` or a torchvision state dict. [default: random]")
    ] = None,
    init: Annotated[Path | None, typer.Option(help="Start from this checkpoint's weights.")] = None,
    qat: Annotated[
        bool,
        typer.Option("--qat", help="Quantization-aware training of the float checkpoint that --init names, for INT8."),
    ] = False,
    pg: Annotated[
        bool,
        typer.Option("--pg", help="Precision gating too: the low bits of activations only where they matter."),
    ] = False,
    teacher: Annotated[
        Path | None, typer.Option(help="A larger detector's checkpoint, of the same classes, to learn from as well.")
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(metavar="RECIPE", help="YAML with any settings, or a name of `edgedet recipes`."),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="One setting, e.g. optimizer.lr=0.001; may be repeated.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of every random choice. [default: 0]")] = None,
    workers: Annotated[int | None, typer.Option(help="Loader processes. [default: 1]")] = None,
    precision: Annotated[str | None, typer.Option(help="32-true, bf16-mixed or 16-mixed. [default: 32-true]")] = None,
    devices: Annotated[int | None, typer.Option(help="Number of devices. [default: 1]")] = None,
    tensorboard: Annotated[bool | None, typer.Option(help="Also write TensorBoard files. [default: no]")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with the run in this folder, exactly; takes no other settings.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a run that is in --out.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train a detector; leaves best.pt, last.pt, metrics.jsonl and pictures in the run's folder."""
    if init is not None and weights is not None:
        what = "--init brings a whole detector's weights, --weights those of its backbone"
        raise EdgedetError(what, where="--init, --weights", fix="give one of them")
    options = {
        "data": data,
        "model": model,
        "imgsz": imgsz,
        "epochs": epochs,
        "batch": batch,
        "weights": weights,
        "seed": seed,
        "workers": workers,
        "precision": precision,
        "devices": devices,
        "tensorboard": tensorboard,
    }
    given = {name: value for name, value in options.items() if value is not None}
    settings_given = given or qat or pg or config or set_ or init or teacher or overwrite or out != DEFAULT_OUT
    if resume is not None and settings_given:
        raise EdgedetError("a resumed run keeps its settings", where="--resume", fix="leave the other settings out")

    from functools import partial

    from edgedet.cli.training import TerminalReporter
    from edgedet.config import merged, override, parse
    from edgedet.recipes import load_recipe
    from edgedet.train import loop
    from edgedet.train.config import TrainConfig
    from edgedet.train.idle import require_effect
    from edgedet.train.qat import defaults as qat_defaults

    reporter = TerminalReporter()
    if resume is not None:
        run = partial(loop.resume, resume)
        folder = resume
    else:
        values = {**load_recipe(config), **given}
        if teacher is not None:
            values = merged(values, {"teacher": {"checkpoint": str(teacher)}})
        values = override(values, set_ or [])
        if qat or pg:
            values.setdefault("qat", {})
        if pg:
            values = merged({"qat": {"pg": {}}}, values)
        if values.get("qat") is not None and init is not None:
            values = merged(qat_defaults(init), values)
        if "data" not in values:
            raise EdgedetError("no dataset", where="DATA", fix="edgedet train PATH_OF_THE_DATASET")
        settings = parse(TrainConfig, values, where=config)
        require_effect(settings, set_ or [])
        run = partial(loop.train, settings, out, init=init, overwrite=overwrite)
        folder = out
    try:
        result = run(reporter=reporter)
    except KeyboardInterrupt:
        if (folder / "last.pt").exists():
            reporter.message(f"go on with: edgedet train --resume {folder}")
        raise
    if result.is_global_zero:
        output.emit(result.to_dict(), json_, _render)


def _render(result: dict[str, Any]) -> None:
    print(f"best mAP50-95 on the validation split: {result['best_map']:.4f}")
    print(f"checkpoint: {result['folder']}/best.pt")
    last = result["last_epoch"] or {}
    if "open_gates" in last:
        print(f"gates: {last['open_gates']:.0%} of the updates made in the last epoch; by layer: edgedet pg report")
    target = " --target ort-cpu" if result["quantized"] else ""
    print(f"next: edgedet export {result['folder']}/best.pt{target}")
