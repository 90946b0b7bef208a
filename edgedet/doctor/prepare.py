"""A Jetson made ready for measuring: its power mode and its clocks.

Source: Jetson Linux Developer Guide, "Platform Power and Performance" (nvpmodel, jetson_clocks). Ids of modes are the
board's own: of an Orin Nano 0 is 15 W and MAXN_SUPER is 2. So a mode is chosen by its name in the board's table.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet.errors import CheckFailedError, EdgedetError, unknown_value
from edgedet.trt.machine import Machine, PowerMode, read_machine, read_power_modes

ROOT = Path("/")
TABLE = "/etc/nvpmodel.conf"
NVPMODEL, JETSON_CLOCKS, SUDO = "nvpmodel", "jetson_clocks", "sudo"
TIMEOUT_SECONDS = 120.0
RESTART = "reboot required"
"""What nvpmodel says before it asks whether to restart the board at once."""

NO = b"no\n"


@dataclass(frozen=True)
class Step:
    """One command, and what it is for."""

    command: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        return " ".join(self.command)


@dataclass(frozen=True)
class Preparation:
    """What has to be done on a board.

    Attributes:
        machine: the board.
        modes: all of its table.
        mode: the one that is set; None where the board does not say.
        wanted: the one that shall be.
        steps: commands, in their order; empty where all is as it should be.
        undo: the command that sets the mode back; None where it does not change, or is not known.
    """

    machine: Machine
    modes: tuple[PowerMode, ...]
    mode: PowerMode | None
    wanted: PowerMode
    steps: tuple[Step, ...]
    undo: str | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "board": self.machine.board,
            "l4t": self.machine.l4t,
            "jetpack": self.machine.jetpack,
            "modes": [{"id": mode.id, "name": mode.name} for mode in self.modes],
            "mode": None if self.mode is None else self.mode.name,
            "wanted": self.wanted.name,
            "steps": [{"command": list(step.command), "reason": step.reason} for step in self.steps],
            "undo": self.undo,
        }


def prepare(mode: str | None = None, root: Path = ROOT) -> Preparation:
    """What has to be done for this mode and pinned clocks.

    Args:
        mode: its name in the board's table, in any case; None takes the one that limits no clock (`MAXN...`).
        root: the folder that holds `proc`, `sys`, `etc` and `var`.

    Raises:
        EdgedetError: this is no Jetson, it has no table of modes, or none of that name.
    """
    machine = read_machine(root)
    if machine.l4t is None:
        raise EdgedetError(
            "this machine is no Jetson: it has no /etc/nv_tegra_release",
            fix="run it on the board itself, not in a container",
        )
    modes = tuple(read_power_modes(root))
    if not modes:
        raise EdgedetError("the board has no table of power modes", where=TABLE, fix="see JetPack's docs")
    wanted = _wanted(mode, modes, machine.fastest_mode)
    current = machine.mode or ask_mode(modes)
    prefix = () if os.geteuid() == 0 else (SUDO,)
    changes = current is None or current.id != wanted.id
    steps = []
    if changes:
        before = "an unknown mode" if current is None else str(current)
        steps.append(Step((*prefix, NVPMODEL, "-m", str(wanted.id)), f"power mode {wanted}; it is {before}"))
    clocks = (*machine.gpu_clocks, *machine.cpu_clocks)
    if changes or not clocks or not all(clock.is_pinned for clock in clocks):
        steps.append(Step((*prefix, JETSON_CLOCKS), "clocks at the mode's highest, until the next restart"))
    undo = " ".join((*prefix, NVPMODEL, "-m", str(current.id))) if changes and current is not None else None
    return Preparation(machine, modes, current, wanted, tuple(steps), undo)


def apply(preparation: Preparation, root: Path = ROOT) -> None:
    """Runs the steps, and looks whether the mode is set.

    Raises:
        EdgedetError: a program is missing.
        CheckFailedError: a command failed, the mode needs a restart, or is not set after all.
    """
    for step in preparation.steps:
        _run(step.command, preparation)
    found = read_machine(root).mode or ask_mode(preparation.modes)
    if found is not None and found.id != preparation.wanted.id:
        raise CheckFailedError(
            f"the power mode is {found} and not {preparation.wanted}", fix="see what sudo nvpmodel -q says"
        )


def ask_mode(modes: Sequence[PowerMode]) -> PowerMode | None:
    """The mode that `nvpmodel -q` names, `NV Power Mode: 15W` and its id below; None where it does not."""
    program = shutil.which(NVPMODEL)
    if program is None:
        return None
    try:
        result = subprocess.run(
            [program, "-q"], stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    pattern = r"NV Power Mode: *([\w.+-]{1,64})\s*\n\s*(\d{1,4})\b"
    found = re.search(pattern, result.stdout.decode(errors="replace"), re.ASCII)
    if found is None:
        return None
    return next((mode for mode in modes if mode.id == int(found[2])), PowerMode(int(found[2]), found[1]))


def _wanted(name: str | None, modes: Sequence[PowerMode], fastest: PowerMode | None) -> PowerMode:
    names = [mode.name for mode in modes]
    if name is not None:
        found = next((mode for mode in modes if mode.name.lower() == name.lower()), None)
        if found is None:
            raise unknown_value("power mode", name, names, where=TABLE)
        return found
    if fastest is None:
        raise EdgedetError(
            "no mode of this board is called MAXN, and which is the fastest depends on what runs",
            where=TABLE,
            fix=f"choose one with --mode: {', '.join(names)}",
        )
    return fastest


def _run(command: tuple[str, ...], preparation: Preparation) -> None:
    """Answers nvpmodel's question whether to restart with no: that is left to the person."""
    shown = " ".join(command)
    for program in command[: 2 if command[0] == SUDO else 1]:
        if shutil.which(program) is None:
            raise EdgedetError(f"{program} is not installed here", fix="run it on the board itself, not in a container")
    try:
        result = subprocess.run(
            command, input=NO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise CheckFailedError(f"has not ended after {TIMEOUT_SECONDS:g} s", where=shown) from error
    said = result.stdout.decode(errors="replace").strip()
    if RESTART in said.lower():
        raise CheckFailedError(
            f"the power mode {preparation.wanted} needs a restart of the board; nothing was changed",
            where=shown,
            fix=f"run `{shown}` and answer yes; after the restart run `edgedet jetson prepare --apply` again",
        )
    if result.returncode != 0:
        last = said.splitlines()[-1] if said else "it said nothing"
        raise CheckFailedError(f"failed with {result.returncode}: {last[:200]}", where=shown, fix="run it by hand")
