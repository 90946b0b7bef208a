"""Settings of whole training runs, by name: a file for each, which says above what it was measured at."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from edgedet.config import load_yaml
from edgedet.errors import unknown_value
from edgedet.files import MEBIBYTE, read_text

DEFAULT = "default"
MEASURED = re.compile(r"^# measured: mAP50-95 (\.\d+)(?:, the default beside it (\.\d+))?$", re.MULTILINE)
_FOLDER = Path(__file__).resolve().parent


def recipe_names() -> list[str]:
    """The recipes that edgedet brings, `default` first."""
    names = sorted(path.stem for path in _FOLDER.glob("*.yaml"))
    return sorted(names, key=lambda name: name != DEFAULT)


def recipe_path(recipe: str) -> Path:
    """The file of a recipe.

    Args:
        recipe: one of `recipe_names()`, or the path of a YAML file: what has a suffix or names a folder.

    Raises:
        EdgedetError: there is no recipe of that name.
    """
    path = Path(recipe)
    if path.suffix or path.name != recipe:
        return path
    if recipe not in recipe_names():
        raise unknown_value("recipe", recipe, recipe_names())
    return _FOLDER / f"{recipe}.yaml"


def load_recipe(recipe: str | None) -> dict[str, Any]:
    """The settings in a recipe's file, see `recipe_path`; none for None."""
    return {} if recipe is None else load_yaml(recipe_path(recipe))


class Measured(NamedTuple):
    """What a recipe came to on BCCD's test list; its file says how, and how far it can be relied on.

    Attributes:
        map: mAP50-95, a fraction.
        default_map: what the recipe `default` came to beside it, measured in the same way; None for that itself.
    """

    map: float
    default_map: float | None


def measured(name: str) -> Measured:
    """What a recipe was measured at: the line of its file that says so."""
    found = MEASURED.search(read_text(recipe_path(name), limit=MEBIBYTE))
    assert found is not None, "every recipe that edgedet brings has the line"
    return Measured(*(None if one is None else float(one) for one in found.groups()))  # type: ignore[arg-type]


def about(name: str) -> str:
    """What a recipe is for: the first line of its file, a comment."""
    first, _, _ = read_text(recipe_path(name), limit=MEBIBYTE).partition("\n")
    return first.removeprefix("#").strip()
