"""The history of a model's latency: one line of JSON a measurement, in a file that only ever grows."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, Field, ValidationError

from edgedet.bench.protocol import Protocol, compared_values
from edgedet.bench.result import Result
from edgedet.config import Digest, Frozen
from edgedet.errors import EdgedetError
from edgedet.files import MEBIBYTE, read_bytes

FILE_LIMIT = 256 * MEBIBYTE
LINE_LIMIT = MEBIBYTE

Milliseconds = Annotated[float, Field(gt=0, le=1e9)]


class Entry(Frozen):
    """A measurement as the history keeps it.

    Attributes:
        measured_at: when.
        model: the file's name, without its folder.
        model_sha256: which bytes.
        median_ms, p99_ms: of the latency; None where the 99th percentile was not asked for.
        images_per_second: over the whole measurement.
        map: mAP50-95, where it was measured.
        disturbed: whether the machine was disturbed.
        protocol: how it was measured: a trend is of one protocol.
    """

    measured_at: AwareDatetime
    model: str
    model_sha256: Digest
    median_ms: Milliseconds
    p99_ms: Milliseconds | None
    images_per_second: float
    map: float | None
    disturbed: bool
    protocol: Protocol

    @property
    def protocol_id(self) -> str:
        """Twelve hexadecimal digits: the same where figures may be compared."""
        text = json.dumps(compared_values(self.protocol), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class History:
    """What a file holds.

    Attributes:
        entries: in the order in which they were written.
        faults: lines that cannot be read, and why; they stay in the file.
    """

    entries: tuple[Entry, ...]
    faults: tuple[str, ...]


def entry_of(result: Result) -> Entry:
    """What the history keeps of a measurement."""
    return Entry(
        measured_at=result.measured_at,
        model=Path(result.model.path).name,
        model_sha256=result.model.sha256,
        median_ms=result.latency.median,
        p99_ms=result.latency.percentiles.get(99.0),
        images_per_second=result.images_per_second,
        map=result.map,
        disturbed=bool(result.disturbances),
        protocol=result.protocol,
    )


def append(path: Path, entry: Entry) -> None:
    """Adds a line. What is in the file stays as it is, be it broken; two processes at once each add a whole line.

    Raises:
        EdgedetError: it cannot be written.
    """
    line = json.dumps(entry.model_dump(mode="json"), allow_nan=False) + "\n"  # as in `write_result`
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # A line that was cut off, as by a full disk, must not swallow this one.
            file.write((b"\n" if _is_cut_off(file.fileno()) else b"") + line.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        fix = "choose a path that you may write to"
        raise EdgedetError(f"cannot write ({error.strerror})", where=path, fix=fix) from error


def read_history(path: Path) -> History:
    """All that can be read of a history.

    Raises:
        EdgedetError: the file is missing or too large.
    """
    entries, faults = [], []
    for number, line in enumerate(read_bytes(path, limit=FILE_LIMIT).split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            entries.append(_entry(line))
        except (ValueError, RecursionError) as error:
            faults.append(f"{path}:{number}: skipped, {_reason(error)}")
    return History(tuple(entries), tuple(faults))


def _entry(line: bytes) -> Entry:
    if len(line) > LINE_LIMIT:
        raise ValueError(f"longer than {LINE_LIMIT} bytes")
    values = json.loads(line.decode())
    if not isinstance(values, Mapping):
        raise ValueError("not a JSON object")
    return Entry.model_validate(values)


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    return f"not valid JSON ({error})" if isinstance(error, json.JSONDecodeError) else str(error)


def _is_cut_off(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
