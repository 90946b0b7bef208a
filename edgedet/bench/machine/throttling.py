"""What the hardware says of having been made slower, to save itself or its supply."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from edgedet.bench.machine import kernel_files
from edgedet.bench.machine.cores import CPUS
from edgedet.bench.machine.heat import THERMAL

RASPBERRY_PI = Path("sys/devices/platform/soc/soc:firmware/get_throttled")
RASPBERRY_PI_BITS = ("under-voltage", "clock capped", "throttled", "soft temperature limit")
"""From bit 0 on: it is so now; from bit 16 on: it was so since the machine started.

Source: Raspberry Pi documentation, `vcgencmd get_throttled`; its kernel's drivers/firmware/raspberrypi.c (hexadecimal).
"""

ALERTS = ("-throttle-alert", "hot-surface-alert")
"""How the types of cooling devices end by which a Jetson says that it is slow (Jetson Linux Developer Guide, "Platform
Power and Performance", thermal management). Fans are cooling devices too, and no sign."""


def throttle_counts(cpus: Sequence[int], root: Path = kernel_files.ROOT) -> dict[str, int]:
    """How often, since the machine started, by what.

    Sources: arch/x86/kernel/cpu/mce/therm_throt.c (x86); drivers/hwmon of Jetson Linux, `soctherm_oc` (Jetson Orin and
    Thor: under-voltage and over-current); of a Raspberry Pi, whether at all, as 0 or 1.
    """
    paths = {
        f"CPU {cpu} {kind}": root / CPUS / f"cpu{cpu}/thermal_throttle/{kind}_throttle_count"
        for cpu in cpus
        for kind in ("core", "package")
    }
    for folder in kernel_files.entries(root / "sys/class/hwmon", "hwmon"):
        if kernel_files.text(folder / "name") == "soctherm_oc":
            paths |= {f"over-current {place}": folder / f"oc{place}_event_cnt" for place in (1, 2, 3)}
    found = {name: kernel_files.number(path) for name, path in paths.items()}
    counts = {name: count for name, count in found.items() if count is not None}
    bits = _raspberry_pi(root)
    if bits is not None:
        counts |= {name: bits >> (16 + place) & 1 for place, name in enumerate(RASPBERRY_PI_BITS)}
    return counts


def throttle_alerts(root: Path = kernel_files.ROOT) -> tuple[str, ...]:
    """What makes the machine slow at this moment, sorted."""
    devices = kernel_files.entries(root / THERMAL, "cooling_device")
    kinds = {path: kernel_files.text(path / "type") or "" for path in devices}
    found = {
        kind
        for path, kind in kinds.items()
        if kind.endswith(ALERTS) and (kernel_files.number(path / "cur_state") or 0) > 0
    }
    bits = _raspberry_pi(root) or 0
    return tuple(sorted({*found, *(name for place, name in enumerate(RASPBERRY_PI_BITS) if bits >> place & 1)}))


def _raspberry_pi(root: Path) -> int | None:
    found = re.fullmatch(r"(?:0x)?([0-9a-f]{1,8})", kernel_files.text(root / RASPBERRY_PI) or "")
    return None if found is None else int(found[1], 16)
