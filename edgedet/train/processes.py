"""How many processes a run has: as its settings ask, or as torchrun started them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgedet.errors import EdgedetError


@dataclass(frozen=True)
class Processes:
    """The processes of a run, one for each device.

    Attributes:
        per_machine: on each machine.
        machines: number of machines.
    """

    per_machine: int
    machines: int = 1

    @property
    def total(self) -> int:
        """On all machines."""
        return self.per_machine * self.machines


def processes(devices: int, environment: Mapping[str, str]) -> Processes:
    """The processes of a run: `devices` on this machine, which the run starts itself, unless torchrun started this one.

    Args:
        devices: of the settings; 1, the default, leaves the number to torchrun.
        environment: the variables of this process. torchrun sets `TORCHELASTIC_RUN_ID`, `LOCAL_WORLD_SIZE` (the
            processes of this machine) and `WORLD_SIZE` (those of all machines) among others.

    Raises:
        EdgedetError: torchrun was told something else, or other numbers on other machines.
    """
    if "TORCHELASTIC_RUN_ID" not in environment:
        return Processes(devices)
    per_machine, total = int(environment["LOCAL_WORLD_SIZE"]), int(environment["WORLD_SIZE"])
    if devices not in (1, per_machine):
        raise EdgedetError(
            f"torchrun started {per_machine} processes on this machine, not {devices}",
            where="devices",
            fix=f"use --nproc-per-node {devices}, or leave the number of devices to torchrun",
        )
    if total % per_machine:
        raise EdgedetError(
            f"torchrun started {per_machine} processes on this machine, of {total} on all: machines differ",
            where="--nproc-per-node",
            fix="use the same number on every machine",
        )
    return Processes(per_machine, total // per_machine)
