"""Settings of whole training runs, by name: a file for each, which says above what it was measured at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgedet.config import load_yaml
from edgedet.errors import unknown_value
from edgedet.files import MEBIBYTE, read_text

DEFAULT = "default"
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


def about(name: str) -> str:
    """What a recipe is for: the first line of its file, a comment."""
    first, _, _ = read_text(recipe_path(name), limit=MEBIBYTE).partition("\n")
    return first.removeprefix("#").strip()
