"""The power of x86 processors, by their own counters of energy.

Source: Documentation/power/powercap/powercap.rst. Only root may read them since Linux 5.10 (CVE-2020-8694).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from edgedet.bench.machine import kernel_files
from edgedet.bench.machine.power_source import Reading
from edgedet.errors import EdgedetError

POWERCAP = Path("sys/class/powercap")
"""From the root."""

ZONE = "intel-rapl:"
"""AMD's processors are called so, too."""

MICROJOULES = 1e-6


@dataclass(frozen=True)
class Counter:
    """One counter of energy.

    Attributes:
        rail: e.g. `package-0`; of a part of it `package-0 core`.
        path: the file, in microjoules.
        range: where it begins anew, in microjoules.
    """

    rail: str
    path: Path
    range: int


class Rapl:
    """The counters of this machine."""

    name = "RAPL"
    covers = "the processors and, where they count it, memory"

    def __init__(self, counters: tuple[Counter, ...]) -> None:
        """Begins to count.

        Raises:
            EdgedetError: the counters may not be read.
        """
        self._counters = counters
        self._moment, self._energy = time.monotonic(), self._microjoules()

    def read(self) -> Reading | None:
        """On average since the last time."""
        moment, energy = time.monotonic(), self._microjoules()
        elapsed = moment - self._moment
        if elapsed <= 0:
            return None
        watts = {
            counter.rail: _used(before, after, counter.range) * MICROJOULES / elapsed
            for counter, before, after in zip(self._counters, self._energy, energy, strict=True)
        }
        self._moment, self._energy = moment, energy
        return Reading(watts)

    def total_rails(self, rails: tuple[str, ...]) -> tuple[str, ...]:
        """Packages and memory: `core` and `uncore` are within a package, and a package is within `psys`."""
        return tuple(rail for rail in rails if rail.startswith("package-") and rail.partition(" ")[2] in ("", "dram"))

    def close(self) -> None:
        """Nothing is open."""

    def _microjoules(self) -> list[int]:
        found = [kernel_files.number(counter.path) for counter in self._counters]
        energy = [value for value in found if value is not None]
        if len(energy) < len(found):
            raise EdgedetError(
                "the counters of energy cannot be read",
                where=POWERCAP,
                fix="run as root, or let yourself read energy_uj",
            )
        return energy


def find_rapl(root: Path = kernel_files.ROOT) -> Rapl | None:
    """None where this machine counts no energy.

    Raises:
        EdgedetError: it does, and the counters may not be read.
    """
    counters = tuple(counter for path in kernel_files.entries(root / POWERCAP, ZONE) for counter in _counters(path))
    return Rapl(counters) if counters else None


def _counters(zone: Path) -> list[Counter]:
    """Of a zone and its parts, which the kernel shows beside it, too: `intel-rapl:0` and `intel-rapl:0:1`."""
    name = kernel_files.text(zone / "name") or zone.name
    parts = kernel_files.entries(zone.parent, f"{zone.name}:")
    rails = {name: zone} | {f"{name} {kernel_files.text(part / 'name') or part.name}": part for part in parts}
    ranges = {rail: kernel_files.number(path / "max_energy_range_uj") for rail, path in rails.items()}
    return [Counter(rail, rails[rail] / "energy_uj", range) for rail, range in ranges.items() if range is not None]


def _used(before: int, after: int, range: int) -> int:
    return after - before if after >= before else after + range - before
