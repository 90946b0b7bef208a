"""`edgedet recipes`: settings of whole training runs, and what they were measured at."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from edgedet.cli import output


def command(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Print this one's file, to start one's own from."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the recipes of `edgedet train --config`, or print one."""
    from edgedet.files import MEBIBYTE, read_text
    from edgedet.recipes import about, load_recipe, measured, recipe_names, recipe_path

    if name is None:
        listed = [{"name": known, "about": about(known), **measured(known)._asdict()} for known in recipe_names()]
        output.emit({"recipes": listed}, as_json, _render)
        return
    text = read_text(recipe_path(name), limit=MEBIBYTE)
    output.emit({"name": name, "settings": load_recipe(name)}, as_json, lambda _: print(text, end=""))


def _render(result: dict[str, Any]) -> None:
    rows = [
        [recipe["name"], *(_share(recipe[key]) for key in ("map", "default_map")), recipe["about"]]
        for recipe in result["recipes"]
    ]
    title = "mAP50-95 on BCCD's test list, and the default's beside it"
    output.table(["recipe", "mAP50-95", "default", "for"], rows, title=title)
    print("`edgedet recipes NAME` says how each was measured")


def _share(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"
