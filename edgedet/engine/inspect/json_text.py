"""JSON of anyone's making: whatever is in it, a value of the type asked for, or none."""

from __future__ import annotations

import json
from typing import Any

from edgedet.errors import EdgedetError


def parse_json(text: str, *, where: object) -> Any:
    """What JSON text holds.

    Raises:
        EdgedetError: it is no JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        fix = "write it again: trtexec --exportLayerInfo=FILE, or --exportProfile=FILE"
        raise EdgedetError(f"not valid JSON ({str(error)[:100]})", where=where, fix=fix) from error


def text_in(values: dict[str, Any], *keys: str) -> str:
    """The first text under one of the keys; empty where there is none."""
    return next((values[key] for key in keys if isinstance(values.get(key), str)), "")


def objects_in(values: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The objects in the list under a key."""
    listed = values.get(key)
    return [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []


def sizes_in(values: dict[str, Any], key: str) -> tuple[int, ...] | None:
    """The integers under a key; None where something else is there."""
    listed = values.get(key)
    if not isinstance(listed, list) or any(type(size) is not int for size in listed):
        return None
    return tuple(listed)
