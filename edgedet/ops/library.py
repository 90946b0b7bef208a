"""Native libraries: what a file is, looked at before anything in it is run.

The fields are those of the ELF specification (System V ABI, chapter 4), for files of 64 bits.
"""

from __future__ import annotations

import platform
import struct
from pathlib import Path

from edgedet.errors import EdgedetError

HEADER_BYTES = 64
IDENTIFICATION = b"\x7fELF\x02"
LITTLE_ENDIAN = 1
LOADED = 1
MACHINES = {62: "x86_64", 183: "aarch64", 243: "riscv64"}
"""`e_machine`, as `platform.machine()` calls it."""

BUILD = "build it for this machine: make operators"


def require_for_this_machine(path: Path) -> None:
    """Refuses what is no library, what is one for another machine, and what was cut off, which would end the process.

    Raises:
        EdgedetError: the message says what was found and what is needed.
    """
    if not path.is_file():
        raise EdgedetError("no such library", where=path, fix="check the path, or build it: make operators")
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
        if len(header) < HEADER_BYTES or not header.startswith(IDENTIFICATION):
            raise EdgedetError("not a library for 64-bit Linux", where=path, fix=BUILD)
        order = "<" if header[5] == LITTLE_ENDIAN else ">"
        (code,) = struct.unpack_from(order + "H", header, 18)
        built_for, needed = MACHINES.get(code, f"machine {code}"), platform.machine()
        if built_for != needed:
            raise EdgedetError(f"built for {built_for}, and this machine is {needed}", where=path, fix=BUILD)
        (table,) = struct.unpack_from(order + "Q", header, 32)
        (count,) = struct.unpack_from(order + "H", header, 56)
        segment = struct.Struct(order + "IIQQQQQQ")
        size = path.stat().st_size
        file.seek(min(table, size))
        segments = file.read(segment.size * count)
    complete = len(segments) == segment.size * count
    for kind, _, offset, _, _, length, _, _ in segment.iter_unpack(segments) if complete else ():
        complete &= kind != LOADED or offset + length <= size
    if not complete:
        raise EdgedetError("cut off: parts of it lie behind its end", where=path, fix="copy it again, or build it")
