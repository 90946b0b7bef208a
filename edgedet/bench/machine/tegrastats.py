"""The power of a Jetson's module, by the program that comes with it.

Source: Jetson Linux Developer Guide, "tegrastats Utility".
"""

from __future__ import annotations

import os
import shutil
import subprocess

from edgedet.bench.machine.power_source import Reading
from edgedet.bench.machine.tegrastats_line import rails, read_line, total_rails
from edgedet.errors import EdgedetError

PROGRAM = "tegrastats"

INTERVAL_MILLISECONDS = 100

LONGEST_LINE = 1 << 14

SECONDS_TO_END = 2.0


class Tegrastats:
    """A `tegrastats` that runs."""

    name = PROGRAM
    covers = "the Jetson's module"

    def __init__(self, program: str) -> None:
        """Starts it.

        Raises:
            EdgedetError: it cannot be started.
        """
        self._process = start_tegrastats(program, INTERVAL_MILLISECONDS)
        assert self._process.stdout is not None
        self._pipe = self._process.stdout.fileno()
        os.set_blocking(self._pipe, False)
        self._rest = b""

    def read(self) -> Reading | None:
        """The newest line that is complete."""
        lines = (self._rest + self._available()).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > LONGEST_LINE:
            raise EdgedetError("writes no lines", where=PROGRAM)
        if not lines:
            return None
        line = lines[-1].decode(errors="replace")
        watts = rails(line)
        if not watts:
            raise EdgedetError("shows no power on this board", where=PROGRAM)
        return Reading(watts, board=read_line(line))

    def total_rails(self, rails: tuple[str, ...]) -> tuple[str, ...]:
        """Those that are or add up to the whole of this board."""
        return total_rails(rails)

    def close(self) -> None:
        """Ends the program."""
        end_tegrastats(self._process)

    def _available(self) -> bytes:
        try:
            data = os.read(self._pipe, 4 * LONGEST_LINE)
        except BlockingIOError:
            return b""
        if not data:
            raise EdgedetError("ended by itself", where=PROGRAM)
        return data


def find_tegrastats() -> Tegrastats | None:
    """None where this machine has no such program.

    Raises:
        EdgedetError: it cannot be started.
    """
    program = shutil.which(PROGRAM)
    return None if program is None else Tegrastats(program)


def start_tegrastats(program: str, interval_milliseconds: int) -> subprocess.Popen[bytes]:
    """The program, running, with its lines in a pipe.

    Raises:
        EdgedetError: it cannot be started.
    """
    command = [program, "--interval", str(interval_milliseconds)]
    try:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
    except OSError as error:
        raise EdgedetError(f"cannot be started ({error.strerror})", where=program) from error


def end_tegrastats(process: subprocess.Popen[bytes]) -> None:
    """Ends it, whether it wants to or not."""
    process.terminate()
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
