"""The names of a detector's classes as other programs read them."""

from __future__ import annotations

from collections.abc import Sequence


def labels(names: Sequence[str]) -> bytes:
    """One class a line; a line break in a name becomes a space, so that the lines stay in their places."""
    return "".join(" ".join(name.splitlines()) + "\n" for name in names).encode()
