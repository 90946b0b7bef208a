"""Files that the kernel shows itself in. Not every machine has every file: without it, or with other content, None."""

from __future__ import annotations

import re
from pathlib import Path

from edgedet.errors import EdgedetError
from edgedet.files import MEBIBYTE, read_text

LIMIT = 4 * MEBIBYTE
"""`/proc/cpuinfo` of 512 CPUs has less than one."""

ROOT = Path("/")
"""The folder that holds `proc` and `sys`."""


def text(path: Path) -> str | None:
    """What the file holds, without spaces and the NUL of a device tree at its ends."""
    try:
        return read_text(path, limit=LIMIT).strip("\0 \t\n")
    except EdgedetError:
        return None


def number(path: Path) -> int | None:
    """The whole number that is all the file holds."""
    found = re.fullmatch(r"-?[0-9]{1,18}", text(path) or "")
    return None if found is None else int(found[0])


def entries(folder: Path, name: str) -> list[Path]:
    """The folder's entries that are called `name` and a number, in the order of that number."""
    pattern = re.compile(f"{re.escape(name)}([0-9]{{1,9}})")
    try:
        found = [(int(match[1]), path) for path in folder.iterdir() if (match := pattern.fullmatch(path.name))]
    except OSError:
        return []
    return [path for _, path in sorted(found)]
