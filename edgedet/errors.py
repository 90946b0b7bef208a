"""Errors that a person can act on: what went wrong, where, and how to fix it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EdgedetError(Exception):
    """A wrong use or a bad input.

    Args:
        what: what is wrong, in one sentence without a full stop.
        where: the file, line, key or option it was found at.
        fix: what to do about it.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: object = None, fix: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.fix = fix
        super().__init__(what)

    def __str__(self) -> str:
        text = self.what if self.where is None else f"{self.where}: {self.what}"
        return text if self.fix is None else f"{text}\n  fix: {self.fix}"


class CheckFailedError(EdgedetError):
    """A check or a gate did not hold (the input itself was understood)."""

    exit_code = 1


def nearest(word: str, options: Iterable[str]) -> str | None:
    """The option most like `word`, or None where nothing is close."""
    by_lower = {option.lower(): option for option in options}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[close[0]] if close else None


def unknown_value(kind: str, value: str, options: Iterable[str], *, where: object = None) -> EdgedetError:
    """The error for a value that is none of `options`; names the nearest one."""
    options = list(options)
    close = nearest(value, options)
    listed = ", ".join(options)
    fix = f"use one of: {listed}" if close is None else f"did you mean {close!r}? One of: {listed}"
    return EdgedetError(f"unknown {kind} {value!r}", where=where, fix=fix)
