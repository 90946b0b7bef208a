"""What a machine's condition is held against."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgedet.bench.machine import kernel_files
from edgedet.bench.machine.clocks import highest_megahertz
from edgedet.bench.machine.heat import trip_temperatures
from edgedet.config import Frozen


class Limits(Frozen):
    """What does not change while something is measured, so that it is read once.

    Attributes:
        megahertz: the highest clock that the settings allow, by CPU.
        celsius: the temperature at which a zone makes the machine slower, by zone.
    """

    megahertz: dict[int, float]
    celsius: dict[str, float]


def read_limits(cpus: Sequence[int], root: Path = kernel_files.ROOT) -> Limits:
    """The limits for these CPUs; what cannot be read is absent."""
    return Limits(megahertz=highest_megahertz(cpus, root), celsius=trip_temperatures(root))
