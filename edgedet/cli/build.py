"""`edgedet build`: a TensorRT engine for this machine, with a manifest of all that it depends on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgedet.cli.options import OperatorsOption
from edgedet.errors import EdgedetError

if TYPE_CHECKING:
    from edgedet.trt.manifest import BuildOptions, Profile


def command(
    model: Annotated[Path, typer.Argument(help="ONNX file: the master, or one exported for TensorRT.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write, ending in .engine.", show_default="beside the model")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="fp32, fp16 or int8: the lowest computed in.", show_default="int8 if it is quantized, else fp16"
        ),
    ] = None,
    keep_float: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BLOCK",
            help="Compute this block of an INT8 model in float: backbone.features.7",
            show_default="none",
        ),
    ] = None,
    batches: Annotated[
        str | None,
        typer.Option(
            metavar="N or MIN:BEST:MAX",
            help="Images at once, for a model of a free batch size.",
            show_default="the model's, or 1",
        ),
    ] = None,
    workspace: Annotated[
        int | None, typer.Option(min=1, metavar="MIB", help="Memory for a layer.", show_default="most of what is free")
    ] = None,
    optimization_level: Annotated[
        int | None,
        typer.Option(min=0, max=5, help="Higher builds longer and may run faster.", show_default="TensorRT's"),
    ] = None,
    dla: Annotated[
        int | None,
        typer.Option(min=0, max=7, metavar="CORE", help="Run on this core of the accelerator (Xavier, Orin)."),
    ] = None,
    strongly_typed: Annotated[
        bool, typer.Option("--strongly-typed", help="Let the network's types decide (10.12; always from 11 on).")
    ] = False,
    version_compatible: Annotated[
        bool,
        typer.Option("--version-compatible", help="For later TensorRTs too: often slower, larger, and carries code."),
    ] = False,
    hardware_compatibility: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL",
            help="ampere-plus or same-compute-capability: for other GPUs too, often slower; not on Jetson.",
            show_default="this GPU alone",
        ),
    ] = None,
    operators: OperatorsOption = None,
    serialize_operators: Annotated[
        bool, typer.Option("--serialize-operators", help="Put that library into a version-compatible engine.")
    ] = False,
    timing_cache: Annotated[
        Path | None, typer.Option(help="File of times measured before.", show_default="beside the engine")
    ] = None,
    keep_timing_cache: Annotated[
        bool, typer.Option("--keep-timing-cache/--no-timing-cache", help="Read and write that file.")
    ] = True,
    data: Annotated[
        Path | None,
        typer.Option(help="Dataset or image to compare the engine on.", show_default="8 generated images"),
    ] = None,
    auto_precision: Annotated[
        bool,
        typer.Option(
            "--auto-precision", help="Build fp16, int8 and a mix; keep the fastest that holds (needs --data)."
        ),
    ] = False,
    max_drop: Annotated[
        float, typer.Option(min=0, max=100, help="mAP, in points of 100, that it may lose against fp16.")
    ] = 0.5,
    emit_trtexec: Annotated[
        bool,
        typer.Option("--emit-trtexec", help="Print the trtexec command instead; only the lowered ONNX is written."),
    ] = False,
    emit_script: Annotated[
        bool, typer.Option("--emit-script", help="Print the Polygraphy script instead; likewise.")
    ] = False,
    tensorrt: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="The TensorRT to print for.", show_default="the one installed"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Build an engine; nothing is written unless it runs and agrees with ONNX Runtime on images."""
    from edgedet.config import parse
    from edgedet.trt.manifest import BuildOptions

    values = {
        "precision": precision,
        "keep_float": tuple(keep_float or ()),
        "strongly_typed": strongly_typed,
        "profile": _profile(batches).model_dump(),
        "workspace_mebibytes": workspace,
        "dla_core": dla,
        "optimization_level": optimization_level,
        "version_compatible": version_compatible,
        "hardware_compatibility": hardware_compatibility,
        "serialize_operators": serialize_operators,
    }
    options = parse(BuildOptions, values, where="edgedet build")
    if emit_trtexec + emit_script + auto_precision > 1:
        fix = "give one of --emit-trtexec, --emit-script and --auto-precision"
        raise EdgedetError("two things are asked for at once", fix=fix)
    if emit_trtexec or emit_script:
        _emit(model, out, options, tensorrt, operators, data, timing_cache, keep_timing_cache, emit_script)
        return
    if tensorrt is not None:
        raise EdgedetError("an engine is built with the TensorRT that is installed", where="--tensorrt")
    from edgedet.cli.build_progress import watched
    from edgedet.cli.output import emit
    from edgedet.engine.build import build_engine

    if auto_precision:
        if data is None:
            raise EdgedetError("--auto-precision measures accuracy on a dataset", fix="give --data DATASET")
        cache = (timing_cache, keep_timing_cache)
        emit(_choose(model, data, out, options, max_drop, operators, cache), as_json, _render_decision)
        return
    with watched(f"building {model.name}") as watcher:
        built = build_engine(
            model,
            out,
            options,
            operators=operators,
            data=data,
            timing_cache=timing_cache,
            keep_timing_cache=keep_timing_cache,
            watcher=watcher,
        )
    emit(built.to_dict(), as_json, _render)


def _choose(
    model: Path,
    data: Path,
    out: Path | None,
    options: BuildOptions,
    max_drop: float,
    operators: Path | None,
    timing_cache: tuple[Path | None, bool],
) -> dict[str, Any]:
    from edgedet.cli.build_progress import watched
    from edgedet.cli.output import track
    from edgedet.deploy.precision import choose_precision

    with watched(f"choosing the precision of {model.name}") as watcher:
        decision = choose_precision(
            model,
            data,
            out,
            options,
            max_drop=max_drop,
            operators=operators,
            timing_cache=timing_cache[0],
            keep_timing_cache=timing_cache[1],
            watcher=watcher,
            track=track,
        )
    return decision.to_dict()


def _emit(
    model: Path,
    out: Path | None,
    options: BuildOptions,
    tensorrt: str | None,
    operators: Path | None,
    data: Path | None,
    timing_cache: Path | None,
    keep_timing_cache: bool,
    script: bool,
) -> None:
    from edgedet.cli.output import console, printable
    from edgedet.engine.recipe import write_recipe
    from edgedet.engine.script import polygraphy_script
    from edgedet.engine.trtexec import trtexec_command
    from edgedet.trt import versions

    version = versions.installed() if tensorrt is None else versions.Version.parse(tensorrt)
    recipe = write_recipe(
        model,
        out,
        options,
        version,
        operators=operators,
        data=data,
        timing_cache=timing_cache,
        keep_timing_cache=keep_timing_cache,
    )
    console().print(printable(f"written: {recipe.onnx}, lowered for {recipe.network.lowering} (TensorRT {version})"))
    if recipe.network.float32_nodes and not versions.can_hold_precisions(version):
        console().print("warning: it cannot keep the decoding in float32: boxes may be rounded to float16")
    print(polygraphy_script(recipe) if script else trtexec_command(recipe))


def _profile(text: str | None) -> Profile:
    """`4`, or `1:4:8`."""
    from edgedet.trt.manifest import Profile

    if text is None:
        return Profile()
    sizes = re.fullmatch(r"(\d{1,4})(?::(\d{1,4}):(\d{1,4}))?", text, re.ASCII)
    if sizes is None:
        raise EdgedetError(f"{text!r} is no batch size", where="--batches", fix="write 4, or 1:4:8")
    smallest, best, largest = (int(size) if size else int(sizes[1]) for size in sizes.groups())
    if not 1 <= smallest <= best <= largest:
        raise EdgedetError(f"{text} does not rise from 1 on", where="--batches", fix="write the smallest first: 1:4:8")
    return Profile(smallest=smallest, best=best, largest=largest)


def _render(result: dict[str, Any]) -> None:
    from edgedet.cli.output import printable

    manifest, comparison = result["manifest"], result["comparison"]
    options, built_on = manifest["options"], manifest["built_on"]
    profile = options["profile"]
    typing = "strongly typed" if manifest["strongly_typed"] else "weakly typed"
    print(printable(f"{result['path']}: {manifest['spec']['model']}, {options['precision']} for {built_on['gpu']}"))
    print(
        f"  TensorRT {built_on['tensorrt']}, lowered for {manifest['lowering']}, {typing}; "
        f"{result['size_bytes'] / 1e6:.2f} MB, built in {manifest['build_seconds']:.1f} s"
    )
    for tensor in manifest["tensors"]:
        shape = "x".join("B" if size is None else str(size) for size in tensor["shape"])
        print(printable(f"  {'in ' if tensor['is_input'] else 'out'} {tensor['name']} {shape} {tensor['dtype']}"))
    if profile["smallest"] != profile["largest"]:
        print(f"  batches {profile['smallest']} to {profile['largest']}, kernels chosen for {profile['best']}")
    if manifest["timing_cache"] is not None:
        print(printable(f"  timing cache {manifest['timing_cache']['name']}"))
    if result["on_gpu"]:
        print(printable(f"  {len(result['on_gpu'])} layers stay on the GPU: {', '.join(result['on_gpu'][:8])}"))
    if result["unheld"]:
        print(printable(f"  no layer was found of {', '.join(result['unheld'][:8])}: not held in float32"))
    _render_comparison(comparison)


def _render_decision(result: dict[str, Any]) -> None:
    from edgedet.cli.output import printable, table

    base = result["candidates"][0]
    rows = [
        [
            candidate["name"],
            f"{candidate['median_ms']:.3f}",
            f"{candidate['fastest_round_ms']:.3f} to {candidate['slowest_round_ms']:.3f}",
            f"{base['median_ms'] / candidate['median_ms']:.2f}",
            f"{candidate['map']:.4f}",
            f"{100 * (base['map'] - candidate['map']):+.2f}",
            f"{candidate['size_bytes'] / 1e6:.2f}",
            ("kept" if candidate["name"] == result["chosen"] else "") if candidate["holds"] else "loses too much",
        ]
        for candidate in result["candidates"]
    ]
    columns = ["precision", "median ms", "rounds", "speed", "mAP50-95", "points lost", "MB", ""]
    table(columns, rows, title=f"{result['evaluated_images']} images, {result['max_drop']:g} points may be lost")
    for candidate in result["candidates"]:
        if candidate["float_blocks"]:
            print(printable(f"in float in {candidate['name']}: {', '.join(candidate['float_blocks'])}"))
    _render(result)


def _render_comparison(comparison: dict[str, Any]) -> None:
    from edgedet.cli.output import printable

    on = f"on {comparison['images']} images ({comparison['source']})"
    if comparison["shared"] is not None:
        shared = f"shares {comparison['shared']:.1%} of {comparison['sure']} sure detections with ONNX Runtime"
        said = shared if comparison["sure"] else "compared with ONNX Runtime, which is sure of nothing,"
        print(printable(f"  {said} {on}"))
        return
    print(
        printable(
            f"  agrees with ONNX Runtime {on}: "
            f"boxes within {comparison['box_error']:.2g} px (tolerance {comparison['box_tolerance']:g}), "
            f"scores within {comparison['score_error']:.2g} (tolerance {comparison['score_tolerance']:g})"
        )
    )
