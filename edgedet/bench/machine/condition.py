"""The condition that the machine is in at one moment."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Sequence
from pathlib import Path

from edgedet.bench.machine import kernel_files
from edgedet.bench.machine.clocks import current_megahertz
from edgedet.bench.machine.cores import siblings
from edgedet.bench.machine.heat import temperatures
from edgedet.bench.machine.load import CpuTime, cpu_times, pressure_seconds, run_queue_seconds
from edgedet.bench.machine.quota import Quota, read_quota
from edgedet.bench.machine.throttling import throttle_alerts, throttle_counts
from edgedet.config import Frozen


class Condition(Frozen):
    """One sample. Times and counts began at some moment in the past: what two samples differ by has a meaning.

    Attributes:
        moment: when it was taken, in seconds of a clock that only goes forward.
        megahertz: clocks of the measured CPUs.
        celsius: temperatures by zone.
        throttle_counts: how often the hardware made something slower, by what.
        throttle_alerts: what makes the machine slow at this moment.
        load_average: threads that ran or waited to, over the last minute.
        cpu_times: what the measured CPUs have done.
        sibling_times: what the other hyperthreads of the same cores have done.
        pressure_seconds: how long in all some thread of the computer waited for a CPU, be it one that is not measured.
        own_seconds: CPU time of this process, all threads.
        involuntary_switches: how often a thread of this process was made to leave its CPU.
        run_queue_seconds: how long threads of this process waited for a CPU.
        quota: how often and how long this process's container had used up its CPU time.
    """

    moment: float
    megahertz: dict[int, float]
    celsius: dict[str, float]
    throttle_counts: dict[str, int]
    throttle_alerts: tuple[str, ...]
    load_average: float
    cpu_times: dict[int, CpuTime]
    sibling_times: dict[int, CpuTime]
    pressure_seconds: float | None
    own_seconds: float
    involuntary_switches: int
    run_queue_seconds: float | None
    quota: Quota | None


def read_condition(cpus: Sequence[int], root: Path = kernel_files.ROOT) -> Condition:
    """The condition now; what cannot be read is absent. To be taken when the clocks are up, so after a warm-up.

    Args:
        cpus: the measured ones, which this process is bound to.
        root: the folder that holds `proc` and `sys`; time, load average and what this process used are not read there.
    """
    beside = siblings(cpus, root)
    times = cpu_times({*cpus, *beside}, root)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return Condition(
        moment=time.monotonic(),
        megahertz=current_megahertz(cpus, root),
        celsius=temperatures(root),
        throttle_counts=throttle_counts(cpus, root),
        throttle_alerts=throttle_alerts(root),
        load_average=os.getloadavg()[0],
        cpu_times={cpu: spent for cpu, spent in times.items() if cpu in cpus},
        sibling_times={cpu: spent for cpu, spent in times.items() if cpu in beside},
        pressure_seconds=pressure_seconds(root),
        own_seconds=usage.ru_utime + usage.ru_stime,
        involuntary_switches=usage.ru_nivcsw,
        run_queue_seconds=run_queue_seconds(root),
        quota=read_quota(root),
    )
