"""A Jetson's `tegrastats`, sample by sample."""

from __future__ import annotations

import shutil
from collections.abc import Generator

from edgedet.bench.machine.tegrastats import LONGEST_LINE, PROGRAM, end_tegrastats, start_tegrastats
from edgedet.bench.machine.tegrastats_line import TegrastatsSample, read_line
from edgedet.errors import EdgedetError

STRANGE_LINES = 5
"""So many in a row that say nothing known, and it is another program."""


def monitor(interval_milliseconds: int) -> Generator[TegrastatsSample, None, None]:
    """What the board says of itself, until the generator is closed.

    Raises:
        EdgedetError: there is no such program, it cannot be started, ends by itself or writes something else.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise EdgedetError(
            "this machine has no tegrastats: it comes with a Jetson's Linux",
            fix="run it on the board, not in a container; elsewhere `edgedet bench` reads NVML and RAPL",
        )
    process = start_tegrastats(program, interval_milliseconds)
    assert process.stdout is not None
    strange = 0
    try:
        while line := process.stdout.readline(LONGEST_LINE):
            sample = read_line(line.decode(errors="replace").strip())
            strange = 0 if sample is not None else strange + 1
            if strange == STRANGE_LINES:
                raise EdgedetError("writes lines that are not understood", where=program, fix="see what it prints")
            if sample is not None:
                yield sample
    finally:
        end_tegrastats(process)
    raise EdgedetError("ended by itself", where=program, fix=f"see what `{PROGRAM} --interval 1000` prints")
