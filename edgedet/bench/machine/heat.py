"""Temperatures, and the temperatures that something is done at.

Source: Documentation/driver-api/thermal/sysfs-api.rst.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgedet.bench.machine import kernel_files

THERMAL = Path("sys/class/thermal")
"""From the root."""

MILLIDEGREES = 1e-3

SLOWING_TRIPS = ("passive", "hot", "critical")
"""Kinds of trip points at which a machine is made slower or shut down; at `active` ones a fan starts."""


def temperatures(root: Path = kernel_files.ROOT) -> dict[str, float]:
    """In degrees Celsius by zone. Zones whose part has no power, such as a Jetson's GPU at rest, do not say."""
    found = {name: kernel_files.number(path / "temp") for name, path in _zones(root)}
    return {name: millidegrees * MILLIDEGREES for name, millidegrees in found.items() if millidegrees is not None}


def trip_temperatures(root: Path = kernel_files.ROOT) -> dict[str, float]:
    """The lowest temperature at which a zone makes the machine slower, in degrees Celsius, by zone."""
    found = {name: _slowing(path) for name, path in _zones(root)}
    return {name: min(trips) for name, trips in found.items() if trips}


def _slowing(zone: Path) -> list[float]:
    """Trip points that are switched off say 0 or less."""
    found = []
    for place in range(len(list(zone.glob("trip_point_*_temp")))):
        millidegrees = kernel_files.number(zone / f"trip_point_{place}_temp")
        kind = kernel_files.text(zone / f"trip_point_{place}_type")
        if kind in SLOWING_TRIPS and millidegrees is not None and millidegrees > 0:
            found.append(millidegrees * MILLIDEGREES)
    return found


def _zones(root: Path) -> Iterator[tuple[str, Path]]:
    """By type, e.g. `cpu-thermal`; of several that share it, the second is `acpitz 2`."""
    seen: dict[str, int] = {}
    for path in kernel_files.entries(root / THERMAL, "thermal_zone"):
        kind = kernel_files.text(path / "type") or path.name
        seen[kind] = seen.get(kind, 0) + 1
        yield kind if seen[kind] == 1 else f"{kind} {seen[kind]}", path
