"""How long CPUs and this process have been busy, and how long they waited."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path

from edgedet.bench.machine import kernel_files
from edgedet.config import Frozen

MICROSECONDS, NANOSECONDS = 1e-6, 1e-9
TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
"""In which the kernel counts the time of CPUs (proc(5), `/proc/stat`)."""


class CpuTime(Frozen):
    """What a CPU has done since it started, in seconds. It is counted in ticks, most often of 10 milliseconds.

    Attributes:
        busy: it ran something, be it the kernel.
        idle: it had nothing to do, or waited for a disk.
        stolen: it had something to do, and the hypervisor ran another machine.
    """

    busy: float
    idle: float
    stolen: float


def cpu_times(cpus: Collection[int], root: Path = kernel_files.ROOT) -> dict[int, CpuTime]:
    """Of those CPUs that the kernel tells of. Source: proc(5), `/proc/stat`: user, nice, system, idle, iowait, irq,
    softirq, steal; the two columns of guests are part of the first two."""
    written = kernel_files.text(root / "proc/stat") or ""
    found = re.findall(r"^cpu([0-9]{1,6})((?: [0-9]{1,18}){8})", written, re.MULTILINE)
    return {int(cpu): _cpu_time(columns) for cpu, columns in found if int(cpu) in cpus}


def _cpu_time(columns: str) -> CpuTime:
    user, nice, system, idle, iowait, irq, softirq, steal = (int(column) * TICK_SECONDS for column in columns.split())
    return CpuTime(busy=user + nice + system + irq + softirq, idle=idle + iowait, stolen=steal)


def pressure_seconds(root: Path = kernel_files.ROOT) -> float | None:
    """How long in all some thread of the computer waited for a CPU. Source: Documentation/accounting/psi.rst."""
    written = kernel_files.text(root / "proc/pressure/cpu") or ""
    found = re.search(r"^some .*\btotal=([0-9]{1,18})$", written, re.MULTILINE)
    return None if found is None else int(found[1]) * MICROSECONDS


def run_queue_seconds(root: Path = kernel_files.ROOT) -> float | None:
    """How long the threads of this process, one after the other, could have run and were not let.

    Source: Documentation/scheduler/sched-stats.rst, `/proc/<pid>/schedstat`: time on the CPU, time waiting, both in
    nanoseconds, and how often it got one. Kernels without CONFIG_SCHED_INFO write zeros.
    """
    paths = [path / "schedstat" for path in kernel_files.entries(root / "proc/self/task", "")]
    found = [re.match(r"[0-9]{1,18} ([0-9]{1,18}) ([0-9]{1,18})$", kernel_files.text(path) or "") for path in paths]
    ran = [thread for thread in found if thread is not None and int(thread[2]) > 0]
    return sum(int(thread[1]) for thread in ran) * NANOSECONDS if ran else None
