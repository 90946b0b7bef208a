"""`edgedet deploy`: everything that a device needs, in a folder or an archive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgedet.errors import EdgedetError


def command(
    model: Annotated[
        Path | None,
        typer.Argument(help="Checkpoint (.pt) or ONNX file: the master, or one for the target.", show_default=False),
    ] = None,
    target: Annotated[str | None, typer.Option(metavar="NAME", help="Device: see --list.", show_default=False)] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder, or archive ending in .tar.zst, to write.", show_default="MODEL-TARGET here"),
    ] = None,
    jetpack: Annotated[
        str | None, typer.Option(metavar="VERSION", help="JetPack of the Jetson.", show_default="see --list")
    ] = None,
    tensorrt: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="TensorRT there, if another.", show_default="the target's"),
    ] = None,
    nms: Annotated[bool, typer.Option("--nms", help="Of a checkpoint: put DIoU-NMS into the network.")] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Dataset or image to hold the lowered network to the given one on.", show_default="generated"
        ),
    ] = None,
    golden: Annotated[
        Path | None,
        typer.Option(
            help="Dataset or image: up to 8 of its images go into the bundle's self-test.", show_default="none"
        ),
    ] = None,
    engine: Annotated[
        Path | None,
        typer.Option(help="Engine that was built of MODEL on such a device.", show_default="built on the device"),
    ] = None,
    prebuilt: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder with edgedet-run or libraries of operators, built for the device.",
            show_default="built on the device",
        ),
    ] = None,
    with_: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="NAME",
            help="Also files for triton, triton-ensemble, deepstream, ros2 or gstreamer; may be given again.",
            show_default="none",
        ),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show the targets and exit.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Make a bundle for a device; `edgedet bundle` checks and unpacks it."""
    from edgedet.cli import output
    from edgedet.deploy.targets import load_target

    if list_:
        output.emit({"targets": _listed()}, as_json, _render_targets)
        return
    if model is None or target is None:
        raise EdgedetError("a model and a target are needed", fix="edgedet deploy MODEL --target NAME; names: --list")
    chosen = load_target(target, jetpack=jetpack, tensorrt=tensorrt)
    from edgedet.deploy.bundle import make_bundle

    output.console().print(output.printable(f"making a bundle of {model} for {chosen}"))
    bundle = make_bundle(
        model,
        chosen,
        out,
        nms=nms,
        data=data,
        golden=golden,
        engine=engine,
        prebuilt=prebuilt,
        integrations=tuple(with_ or ()),
    )
    output.emit(bundle.to_dict(), as_json, _render)


def _listed() -> list[dict[str, Any]]:
    from edgedet.deploy.targets import all_targets

    return [
        {
            **target.model_dump(mode="json"),
            "default": target.software.jetpack == target.board.default_jetpack,
            "fastest_mode": target.fastest_mode,
            "lowering": {kind: target.lowering(quantized=kind == "int8") for kind in ("int8", "float")},
        }
        for target in all_targets()
    ]


def _render_targets(result: dict[str, Any]) -> None:
    from edgedet.cli.output import table

    rows = [
        [
            target["name"],
            None
            if target["software"]["jetpack"] is None
            else f"{target['software']['jetpack']}{' (default)' if target['default'] else ''}",
            target["software"]["tensorrt"] if target["board"]["backend"] == "tensorrt" else "ONNX Runtime",
            target["board"]["compute_capability"],
            f"{target['lowering']['int8']}, {target['lowering']['float']}",
            target["board"]["dla_cores"],
            target["fastest_mode"],
            ", ".join(target["board"]["unverified"]) or "nothing",
        ]
        for target in result["targets"]
    ]
    columns = ["target", "JetPack", "TensorRT", "SM", "INT8, float as", "DLA", "fastest mode", "not proved"]
    table(columns, rows)


def _render(result: dict[str, Any]) -> None:
    from edgedet.cli.output import printable

    manifest = result["manifest"]
    files = len(manifest["files"]) + 1
    precision = "INT8" if manifest["quantized"] else "float"
    kind = "archive" if result["archive"] else "folder"
    print(printable(f"{result['path']}: {manifest['model']} for {manifest['target']['board']['title']}"))
    if manifest["random_weights"]:
        print("  random weights: for latency only")
    size = f"{kind} of {result['size_bytes'] / 1e6:.2f} MB"
    print(f"  {precision}, lowered for {manifest['lowering']}; {files} files, {size}")
    if manifest["golden_detections"] == 0:
        print("  the self-test has no detections to compare: give --golden DATASET, with objects to be found")
    then = "edgedet bundle unpack it there, or tar -x --zstd, and" if result["archive"] else "copy it to the device and"
    print(f"  {then} run: sh install.sh")
