"""The power of a Jetson's module, by the program that comes with it.

Source: Jetson Linux Developer Guide, "tegrastats Utility": of each rail it writes the power at this moment and on
average since it began, in milliwatts: JetPack 4 of some boards without units, JetPack 7 the highest as a third.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess

from edgedet.bench.machine.power_source import Reading
from edgedet.errors import EdgedetError

PROGRAM = "tegrastats"

INTERVAL_MILLISECONDS = 100

RAIL = r"(?:^|\s)([A-Z][A-Z0-9_]{1,31}) (-?[0-9]{1,7})(?:mW)?/-?[0-9]{1,7}(?:mW)?(?:/-?[0-9]{1,7}mW)?(?=\s|$)"
"""Not `RAM 1766/3964MB`. A rail that takes next to nothing can show less than 0, by the offset of its sensor."""

TOTALS = (
    ("VDD_IN",),
    ("POM_5V_IN",),
    ("VIN",),
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),
)
"""Rails that are or add up to the whole: of TX2, Xavier NX, Orin NX and Orin Nano; Nano; Thor; AGX Orin; AGX Xavier.

Sources: Jetson Linux Developer Guide, "Platform Power and Performance", power monitors of each board (of AGX Orin,
VDDQ_VDD2_1V8AO is within VIN_SYS_5V0); NVIDIA's forum, topics 73608 (Nano), 200883 (Xavier NX) and 75574 (AGX Xavier).
"""

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
        command = [program, "--interval", str(INTERVAL_MILLISECONDS)]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
            )
        except OSError as error:
            raise EdgedetError(f"cannot be started ({error.strerror})", where=program) from error
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
        watts = rails(lines[-1].decode(errors="replace"))
        if not watts:
            raise EdgedetError("shows no power on this board", where=PROGRAM)
        return Reading(watts)

    def total_rails(self, rails: tuple[str, ...]) -> tuple[str, ...]:
        """The first of `TOTALS` that this board has."""
        return next((total for total in TOTALS if set(total) <= set(rails)), ())

    def close(self) -> None:
        """Ends the program."""
        self._process.terminate()
        try:
            self._process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

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


def rails(line: str) -> dict[str, float]:
    """Watts at the moment the line was written, by rail."""
    return {name: int(milliwatts) / 1000 for name, milliwatts in re.findall(RAIL, line)}
