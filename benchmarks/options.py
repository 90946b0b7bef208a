"""Options of a benchmark, and those that it hands on."""

from __future__ import annotations


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Those in front of `--`, and those behind it, which are for edgedet train."""
    place = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:place], arguments[place + 1 :]
