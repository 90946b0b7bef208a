"""`metrics.jsonl`: one line of JSON an epoch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgedet.errors import EdgedetError
from edgedet.files import MEBIBYTE, read_text, write_text

LIMIT = 256 * MEBIBYTE


class History:
    """The epochs of a run so far.

    Args:
        path: of `metrics.jsonl`.
        epochs: how many epochs of an earlier part of the run stand; later lines are dropped (they are run again).
    """

    def __init__(self, path: Path, epochs: int) -> None:
        self._path = path
        self.records: list[dict[str, Any]] = _read(path)[:epochs] if epochs else []

    def append(self, record: dict[str, Any]) -> None:
        """Adds an epoch; the file is replaced as a whole, so that it never ends in half a line."""
        self.records.append(record)
        write_text(self._path, "".join(json.dumps(line) + "\n" for line in self.records))


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    lines = read_text(path, limit=LIMIT).splitlines()
    return [_record(line, f"{path}:{number}") for number, line in enumerate(lines, start=1) if line.strip()]


def _record(line: str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise EdgedetError("not a JSON object", where=where, fix="move the file away and resume again")
    return record
