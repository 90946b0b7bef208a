"""Limits of CPU time that a container has used up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from edgedet.bench.machine import kernel_files
from edgedet.bench.machine.load import MICROSECONDS, NANOSECONDS
from edgedet.config import Frozen

CGROUPS = Path("sys/fs/cgroup")
"""From the root."""


class Quota(Frozen):
    """What this process's control groups were held back for having no CPU time left, summed over the groups.

    Attributes:
        periods: of the quota (100 milliseconds by default), how many.
        seconds: how long, summed over the CPUs.
    """

    periods: int
    seconds: float


def read_quota(root: Path = kernel_files.ROOT) -> Quota | None:
    """Of this process's group and those around it; None where none of them counts.

    Source: Documentation/admin-guide/cgroup-v2.rst, `cpu.stat` (`throttled_usec`); Documentation/scheduler/
    sched-bwc.rst (version 1: `throttled_time`, in nanoseconds).
    """
    periods, seconds, counted = 0, 0.0, False
    for folder in _groups(root):
        written = kernel_files.text(folder / "cpu.stat") or ""
        found = dict(re.findall(r"^(\w{1,32}) ([0-9]{1,18})$", written, re.MULTILINE))
        if "nr_throttled" in found:
            counted = True
            periods += int(found["nr_throttled"])
            seconds += int(found.get("throttled_usec", 0)) * MICROSECONDS
            seconds += int(found.get("throttled_time", 0)) * NANOSECONDS
    return Quota(periods=periods, seconds=seconds) if counted else None


def _groups(root: Path) -> Iterator[Path]:
    """Outermost first. In a container the file may name a group of the host, which is not to be seen: then the folder
    that is there is the container's."""
    for line in (kernel_files.text(root / "proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        parts = PurePosixPath(group).parts
        if ".." in parts:
            continue
        # Version 2 names no controllers; of version 1, `cpu` is the folder or a link to `cpu,cpuacct`.
        if controllers == "" or "cpu" in controllers.split(","):
            mount = root / CGROUPS / ("cpu" if controllers else "")
            yield from (mount / PurePosixPath(*parts[1:count]) for count in range(1, len(parts) + 1))
