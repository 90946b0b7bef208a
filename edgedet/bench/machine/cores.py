"""Which CPUs share a core."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from edgedet.bench.machine import kernel_files

CPUS = Path("sys/devices/system/cpu")
"""From the root."""


def one_per_core(cpus: Sequence[int], root: Path = kernel_files.ROOT) -> list[int]:
    """The CPUs, the first of each physical core before its hyperthreads, which would halve each other's speed."""

    def rank(cpu: int) -> int:
        return sum(other in cpus and other < cpu for other in _together(cpu, root))

    return sorted(cpus, key=lambda cpu: (rank(cpu), cpu))


def siblings(cpus: Sequence[int], root: Path = kernel_files.ROOT) -> tuple[int, ...]:
    """The other hyperthreads of these CPUs' cores: what runs there slows these down, and they do not look busy."""
    return tuple(sorted({other for cpu in cpus for other in _together(cpu, root)} - set(cpus)))


def _together(cpu: int, root: Path) -> list[int]:
    """In the kernel's notation, `0-1,4` (Documentation/admin-guide/cputopology.rst)."""
    written = kernel_files.text(root / CPUS / f"cpu{cpu}/topology/thread_siblings_list") or ""
    ranges = re.findall(r"([0-9]{1,6})(?:-([0-9]{1,6}))?(?:,|$)", written)
    return [other for first, last in ranges for other in range(int(first), int(last or first) + 1)]
