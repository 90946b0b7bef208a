"""`edgedet bundle`: looks through bundles of `edgedet deploy`, unpacks them, tries them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgedet.cli import output
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
