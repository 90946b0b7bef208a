"""`edgedet bundle`: looks through bundles of `edgedet deploy`, unpacks them, tries them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgedet.cli import output
from edgedet.cli.options import OperatorsOption
from edgedet.errors import CheckFailedError

app = typer.Typer(help="Check, unpack and try what `edgedet deploy` made.", no_args_is_help=True, rich_markup_mode=None)

BundleArgument = Annotated[Path, typer.Argument(help="Folder or .tar.zst of edgedet deploy.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]


@app.command()
def check(
    bundle: BundleArgument,
    here: Annotated[bool, typer.Option("--here", help="Fail too if it is not for this machine.")] = False,
    json_: JsonOption = False,
) -> None:
    """Hold every file to the manifest, and say whether the bundle is for this machine; nothing in it is run."""
    from edgedet.deploy.folder import broken, check_bundle
    from edgedet.deploy.here import machine_differences
    from edgedet.doctor.board import check_board
    from edgedet.trt.machine import read_machine

    checked = check_bundle(bundle)
    machine = read_machine()
    elsewhere = list(machine_differences(checked.manifest.target, machine))
    result = {
        "bundle": str(bundle),
        "faults": list(checked.faults),
        "elsewhere": elsewhere,
        "board": [line.to_dict() for line in check_board(machine)],
        "manifest": checked.manifest.model_dump(mode="json"),
    }
    output.emit(result, json_, _render)
    if checked.faults:
        raise broken(bundle, checked)
    if here and elsewhere:
        fix = "make one for this machine: edgedet deploy MODEL --target ..., see --list"
        raise CheckFailedError(f"not for this machine: {'; '.join(elsewhere)}", where=bundle, fix=fix)


@app.command()
def unpack(
    bundle: Annotated[Path, typer.Argument(help="Archive (.tar.zst) of edgedet deploy.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write; a bundle that is there is replaced.", show_default="its own name"),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Unpack an archive, if all of it is as its manifest says; links, devices and paths that lead out are refused."""
    from edgedet.deploy.folder import unpack as unpack_archive

    folder = out or Path(bundle.name.removesuffix(".tar.zst"))
    manifest = unpack_archive(bundle, folder)
    result = {"folder": str(folder), "manifest": manifest.model_dump(mode="json")}
    output.emit(result, json_, _render_unpacked)


@app.command()
def selftest(
    bundle: Annotated[Path, typer.Argument(help="Folder of edgedet deploy.", show_default=False)],
    operators: OperatorsOption = None,
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="For inference.", show_default="all")] = None,
    json_: JsonOption = False,
) -> None:
    """Run the network on the bundle's golden images by Python's runtime, where there is no C++ runner."""
    from dataclasses import asdict

    from edgedet.deploy.selftest import try_bundle

    backend, tried = try_bundle(bundle, operators=operators, threads=threads)
    faults = [one for one in tried if one.fault is not None]
    output.emit({"backend": backend, "images": [asdict(one) for one in tried]}, json_, _render_tried)
    if faults:
        raise CheckFailedError(
            f"{len(faults)} of {len(tried)} images are not as where the bundle was made",
            where=bundle,
            fix="make the bundle again; if it stays, report it with edgedet doctor --json",
        )


def _render_tried(result: dict[str, Any]) -> None:
    for one in result["images"]:
        state = "ok   " if one["fault"] is None else "fault"
        said = f"{one['detections']} detections" if one["fault"] is None else one["fault"]
        print(output.printable(f"{state} {one['image']}: {said}"))
    right = sum(one["fault"] is None for one in result["images"])
    print(output.printable(f"{right} of {len(result['images'])} images as where it was made ({result['backend']})"))


def _render(result: dict[str, Any]) -> None:
    manifest = result["manifest"]
    count = len(manifest["files"])
    state = f"{len(result['faults'])} faults" if result["faults"] else "as its manifest says"
    print(output.printable(f"{result['bundle']}: {manifest['name']}, edgedet {manifest['edgedet']}"))
    print(f"  {count} files, {state}")
    print(output.printable(f"  made for {manifest['target']['board']['title']}"))
    for line in result["elsewhere"]:
        print(output.printable(f"  not for this machine: {line}"))
    for line in result["board"]:
        print(output.printable(f"  {line['name']}: {line['detail']}"))


def _render_unpacked(result: dict[str, Any]) -> None:
    print(
        output.printable(f"{result['folder']}: {result['manifest']['name']}, {len(result['manifest']['files'])} files")
    )
    print("  on the device run: sh install.sh")
