"""`edgedet export`: a checkpoint as ONNX, checked against the checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from edgedet.errors import EdgedetError

Gates = Literal["full", "high", "gated"]


def command(
    model: Annotated[str, typer.Argument(help="Checkpoint (.pt), or a model's name: random weights, for latency.")],
    out: Annotated[
        Path | None,
        typer.Option(help="File to write, ending in .onnx.", show_default="beside the checkpoint, or MODEL.onnx"),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Dataset or image to compare the two on, and to measure the ranges of fp16 and trt11 on.",
            show_default="8 generated images",
        ),
    ] = None,
    target: Annotated[
        str, typer.Option(help="master, fp16 or fp32; of a quantized checkpoint also ort-cpu, trt8, trt10 or trt11.")
    ] = "master",
    imgsz: Annotated[
        str | None,
        typer.Option(metavar="S or HxW", help="Input size.", show_default="the checkpoint's, else 320"),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=1024, help="Images that the file takes at once.")] = 1,
    dynamic_batch: Annotated[bool, typer.Option("--dynamic-batch", help="Take any number of images at once.")] = False,
    classes: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, help="Classes of a model by name.", show_default="80"),
    ] = None,
    activation: Annotated[
        str | None, typer.Option(help="Activation of a model by name.", show_default="its native one")
    ] = None,
    nms: Annotated[bool, typer.Option("--nms", help="Give detections: DIoU-NMS inside the file.")] = False,
    gates: Annotated[
        Gates,
        typer.Option(
            help="Of a detector trained with --pg: gated, or plain with the full input or its high bits alone."
        ),
    ] = "full",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Export to ONNX; nothing is written unless ONNX Runtime agrees with the checkpoint on images."""
    from edgedet.cli import output

    size = None if imgsz is None else _size(imgsz)
    if dynamic_batch and batch != 1:
        raise EdgedetError("--batch fixes what --dynamic-batch leaves free", fix="give one of them")
    from edgedet.graph.export import export_model

    output.console().print(f"exporting {output.printable(model)}")
    exported = export_model(
        model,
        out,
        target=target,
        data=data,
        batch=batch,
        dynamic_batch=dynamic_batch,
        classes=classes,
        size=size,
        activation=activation,
        nms=nms,
        gates=gates,
    )
    output.emit(exported.to_dict(), as_json, _render)


def _size(text: str) -> tuple[int, int]:
    """`320` or `HEIGHTxWIDTH` as height and width."""
    import re

    sides = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", text, re.ASCII)
    if sides is None:
        raise EdgedetError(f"{text!r} is no image size", where="--imgsz", fix="write 320, or 256x320")
    return int(sides[1]), int(sides[2] or sides[1])


def _precision(quantized: bool, float16: bool) -> str:
    if quantized:
        return "INT8 and float16" if float16 else "INT8"
    return "float16" if float16 else "float"


def _render(result: dict[str, Any]) -> None:
    agreement = result["agreement"]
    height, width = result["imgsz"]
    weights = " with random weights, for latency only" if result["random_weights"] else ""
    kept = result["kept_float32"]
    precision = f"{_precision(result['quantized'], kept is not None)} for {result['target']}"
    if result["quantized"] and result["random_weights"]:
        precision += ", its grids fit noise"
    print(f"{result['path']}: {result['model']}{weights}, {precision}")
    print(
        f"  {width}x{height}, {result['classes']} classes, batch {result['batch'] or 'free'}, opset {result['opset']}, "
        f"{result['nodes']} nodes, {result['size_bytes'] / 1e6:.2f} MB"
    )
    checked = "checked" if result["target"] == "master" else "checked before lowering"
    print(f"  {checked}: {'; '.join(result['checks'])}")
    if kept is not None:
        nodes = f"so do {len(kept)} nodes with values or steps near the ends of float16: {', '.join(kept)}"
        print(f"  the decoding stays float32, {nodes if kept else 'no value or step is near the ends of float16'}")
    if kernels := result["kernels"]:
        print(
            f"  ONNX Runtime runs {kernels['integer']} of {kernels['quantized']} quantized convolutions and products "
            f"as integer kernels, {kernels['other']} have float inputs or results"
        )
    print(
        f"  ONNX Runtime agrees with PyTorch on {agreement['images']} images ({agreement['source']}): "
        f"boxes within {agreement['box_error']:.2g} px (tolerance {agreement['box_tolerance']:g}), "
        f"scores within {agreement['score_error']:.2g} (tolerance {agreement['score_tolerance']:g})"
    )
    if result["target"] != "master":
        master = result["master_agreement"]
        print(
            f"  and so it does for the master: boxes within {master['box_error']:.2g} px, "
            f"scores within {master['score_error']:.2g}"
        )
    if agreement["quantile"] < 1:
        quantile, best = f"{agreement['quantile']:.1%}", f"{agreement['best_share']:.0%}"
        print(
            f"  in {quantile} of the cases, for the boxes of the {best} highest scores: "
            "a value beside the middle of two steps may fall either way"
        )
    if result["nms"]:
        print("  DIoU-NMS is inside: its detections are those of edgedet's runtime behind the same boxes and scores")
    if result["needs_plugin"]:
        print("  TensorRT needs edgedet's plugin for it: make cuda TENSORRT_INCLUDE_DIR=...")
    by_rule: dict[str, list[dict[str, Any]]] = {}
    for finding in result["findings"]:
        by_rule.setdefault(finding["name"], []).append(finding)
    for name, found in by_rule.items():
        first = f"{found[0]['nodes'][0]}, {found[0]['what']}"
        print(f"  {found[0]['severity']}: {name}, {len(found)} (first: {first}): {found[0]['why']}")
