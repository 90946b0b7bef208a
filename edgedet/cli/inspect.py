"""`edgedet inspect`: what an engine or an ONNX file is made of, and what costs an engine time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from edgedet.cli import output
from edgedet.cli.options import AllowCodeOption, ForceOption, OperatorsOption
from edgedet.errors import EdgedetError, unknown_value

ONNX, LAYERS, ENGINE = ".onnx", ".json", ".engine"


def command(
    file: Annotated[
        Path,
        typer.Argument(help=".engine, .onnx, or .json that trtexec --exportLayerInfo wrote.", show_default=False),
    ],
    profile: Annotated[
        Path | None,
        typer.Option(metavar="JSON", help="Times of its layers, that trtexec --exportProfile wrote."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(metavar="JSON", help="The same of an FP16 engine, to find what is slower in INT8."),
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="List every layer too.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Lines shown for each rule.")] = 8,
    operators: OperatorsOption = None,
    force: ForceOption = False,
    allow_code: AllowCodeOption = False,
    profile_runs: Annotated[
        int, typer.Option(min=0, metavar="N", help="Run an .engine N times to time its layers.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, with every layer and finding.")] = False,
) -> None:
    """List what an engine or an ONNX file is made of; of an engine also what costs it time."""
    kind = file.suffix.lower()
    if kind not in (ONNX, LAYERS, ENGINE):
        raise unknown_value("kind of file", file.suffix, (ENGINE, ONNX, LAYERS), where=file)
    _require_fitting(
        kind,
        {"--profile": profile, "--against": against},
        {"--operators": operators, "--force": force, "--allow-code": allow_code, "--profile-runs": profile_runs},
    )
    if kind == ONNX:
        from edgedet.graph.inspect import inspect_onnx_file

        contents = inspect_onnx_file(file)
        output.emit({"path": file, **contents.to_dict()}, as_json, _render_onnx)
        return
    from edgedet.engine.inspect.inspection import inspect_engine_file, inspect_layer_file

    if kind == LAYERS:
        found = inspect_layer_file(file, profile=profile, against=against)
    else:
        found = inspect_engine_file(
            file,
            profile=profile,
            against=against,
            operators=operators,
            force=force,
            allow_code=allow_code,
            profile_runs=profile_runs,
        )
    output.emit({"path": file, **found.to_dict()}, as_json, lambda result: _render_engine(result, layers, limit))


def _require_fitting(kind: str, of_engines: dict[str, object], of_plans: dict[str, object]) -> None:
    """Refuses options that would do nothing."""
    useless = {**(of_engines if kind == ONNX else {}), **({} if kind == ENGINE else of_plans)}
    for option, value in useless.items():
        if value:
            raise EdgedetError(f"does nothing for {kind} files", where=option, fix="leave it out, or give the .engine")


def _render_engine(result: dict[str, Any], layers: bool, limit: int) -> None:
    from edgedet.cli.lint import render_findings

    summary, total = result["summary"], result["milliseconds"]
    counts = [_count(summary["layers"], "layer")]
    if result["detailed"]:
        counts += [_count(summary["reformats"], "reformat"), _count(summary["quantizers"], "lone quantizer")]
    if summary["plugins"]:
        counts.append(f"plugins {', '.join(summary['plugins'])}")
    timed = "" if total is None else f"; {total:.3g} ms a run, layer by layer"
    print(output.printable(f"{result['path']}: {', '.join(counts)}{timed}"))
    for port in result["ports"]:
        mode = {True: "in ", False: "out"}.get(port["is_input"], "   ")
        told = f" {_shape(port['dimensions'])} {_held(port)}" if port["dimensions"] is not None else ""
        print(output.printable(f"  {mode} {port['name']}{told}"))
    if layers:
        _render_layers(result)
    if not result["detailed"]:
        print("only names of layers are in it: build it with trtexec --profilingVerbosity=detailed, or edgedet build")
        return
    _render_groups("kind", summary["by_kind"], total is not None)
    _render_groups("computed in", summary["by_precision"], total is not None)
    if result["compared"] is not None:
        print(f"{_count(result['compared'], 'depthwise convolution')} in INT8 compared with the FP16 engine\n")
    render_findings(result["findings"], limit)


def _render_groups(name: str, groups: Sequence[dict[str, Any]], timed: bool) -> None:
    rows = [
        [group["name"], group["layers"], *([f"{group['milliseconds']:.3g}", _percent(group["share"])] if timed else [])]
        for group in groups
    ]
    output.table([name, "layers", *(["ms", "%"] if timed else [])], rows)


def _render_layers(result: dict[str, Any]) -> None:
    timed, detailed = result["milliseconds"] is not None, result["detailed"]
    headers = ["layer", *(["kind", "reads", "writes"] if detailed else []), *(["ms"] if timed else [])]
    rows = []
    for layer in result["layers"]:
        held = [", ".join(dict.fromkeys(map(_held, layer[side]))) for side in ("inputs", "outputs")]
        milliseconds = layer["milliseconds"]
        time = None if milliseconds is None else f"{milliseconds:.3g}"
        rows.append([layer["name"], *([layer["kind"], *held] if detailed else []), *([time] if timed else [])])
    output.table(headers, rows)


def _render_onnx(result: dict[str, Any]) -> None:
    opsets = ", ".join(f"{domain} {version}" for domain, version in result["opsets"].items())
    made = f", made by {result['producer']}" if result["producer"] else ""
    nodes = sum(operator["nodes"] for operator in result["operators"])
    made = f"opset {opsets}, IR {result['ir_version']}{made}"
    print(output.printable(f"{result['path']}: {_count(nodes, 'node')}, {made}"))
    print(f"  {result['parameters'] / 1e6:.3f} M parameters and constants, {result['size_bytes'] / 1e6:.2f} MB")
    for mode, tensors in (("in ", result["inputs"]), ("out", result["outputs"])):
        for tensor in tensors:
            print(output.printable(f"  {mode} {tensor['name']} {_shape(tensor['dimensions'])} {tensor['type']}"))
    _render_spec(result)
    rows = [
        [
            operator["name"],
            operator["nodes"],
            operator["quantized"] or None,
            ", ".join(operator["types"]),
            _note(operator),
        ]
        for operator in result["operators"]
    ]
    output.table(["operator", "nodes", "quantized", "results", ""], rows)


def _render_spec(result: dict[str, Any]) -> None:
    spec = result["spec"]
    if result["spec_fault"] is not None:
        print(output.printable(f"  edgedet's specification is broken: {result['spec_fault']}"))
    if spec is None:
        return
    size, target = spec["preprocess"], f", exported for {result['target']}" if result["target"] else ""
    classes = _count(len(spec["class_names"]), "class", "classes")
    named = f"{', '.join(spec['class_names'][:8])}{', ...' if len(spec['class_names']) > 8 else ''}"
    print(output.printable(f"  {spec['model']} {size['height']}x{size['width']}{target}; {classes}: {named}"))


def _note(operator: dict[str, Any]) -> str:
    if not operator["is_custom"]:
        return ""
    return "custom, defined in the file" if operator["has_body"] else "custom, not defined in the file"


def _held(tensor: dict[str, Any]) -> str:
    return f"{tensor['datatype']} {tensor['layout']}".rstrip()


def _shape(dimensions: Sequence[object] | None) -> str:
    sides = [] if dimensions is None else ["?" if side in (None, -1) else str(side) for side in dimensions]
    return "x".join(sides)


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f}"


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or f'{one}s'}"
