"""Values from JSON files of strangers, made harmless for drawings and markup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgedet.errors import EdgedetError

LARGEST = 1e15
"""Milliseconds, bytes and multiply-accumulates stay below; axes cannot be divided far above."""

LONGEST = 1000
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def cleaned(value: Any, where: Path) -> Any:
    """A JSON value whose texts are of characters that can be seen, and whose numbers can be drawn.

    Args:
        value: what `json.loads` gave.
        where: the file it is from.

    Raises:
        EdgedetError: a number is not finite or beyond 10^15, or the value is nested too deep.
    """
    try:
        return _cleaned(value, where)
    except RecursionError as error:
        raise EdgedetError("nested too deep", where=where) from error


def plain(text: str) -> str:
    """At most `LONGEST` characters; those that XML cannot hold, or that turn the writing's direction, are replaced."""
    return "".join(char if char.isprintable() else REPLACEMENT for char in shortened(text, LONGEST))


def shortened(text: str, longest: int) -> str:
    """The text, with an ellipsis in its middle where it is longer: names differ at both ends."""
    if len(text) <= longest:
        return text
    head = (longest - 1) // 2
    return f"{text[:head]}…{text[len(text) - (longest - 1 - head) :]}"


def _cleaned(value: Any, where: Path) -> Any:
    if isinstance(value, dict):
        return {plain(key): _cleaned(item, where) for key, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item, where) for item in value]
    if isinstance(value, str):
        return plain(value)
    # `not <=` holds for NaN, too.
    if isinstance(value, int | float) and not abs(value) <= LARGEST:
        raise EdgedetError("holds a number that cannot be drawn: not finite, or beyond 1e15", where=where)
    return value
