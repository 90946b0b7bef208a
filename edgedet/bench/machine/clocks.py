"""Clocks of CPUs: how they are set, and how fast they are now.

Source: Documentation/admin-guide/pm/cpufreq.rst and intel_pstate.rst. Most virtual machines have neither.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from edgedet.bench.machine import kernel_files
from edgedet.bench.machine.cores import CPUS
from edgedet.config import Frozen
from edgedet.trt.machine import read_machine

KILOHERTZ, MEGAHERTZ = 1_000, 1_000_000

Range = tuple[float, float]
"""Lowest and highest clock that may be chosen, in MHz."""


class ClockSettings(Frozen):
    """What figures measured on the same computer depend on, too.

    Attributes:
        governors: rules that the clocks of the measured CPUs are chosen by, sorted; empty where the kernel has none.
        cpu_megahertz, gpu_megahertz: the ranges that they are chosen from, each once: of the measured CPUs, and of a
            Jetson's GPU.
        boost: whether CPUs may go beyond their nominal clock; None where that cannot be set.
        power_mode: a Jetson's, e.g. `MAXN_SUPER (2)`.
    """

    governors: tuple[str, ...] = ()
    cpu_megahertz: tuple[Range, ...] = ()
    gpu_megahertz: tuple[Range, ...] = ()
    boost: bool | None = None
    power_mode: str | None = None

    @property
    def is_pinned(self) -> bool | None:
        """Whether no clock has a choice, as after `jetson_clocks`; None where the kernel does not say."""
        ranges = (*self.cpu_megahertz, *self.gpu_megahertz)
        return all(lowest == highest for lowest, highest in ranges) if ranges else None


def read_clock_settings(cpus: Sequence[int], root: Path = kernel_files.ROOT) -> ClockSettings:
    """The settings for these CPUs. A file that cannot be read or understood counts as absent."""
    machine = read_machine(root)
    folders = [root / CPUS / f"cpu{cpu}/cpufreq" for cpu in cpus]
    governors = [kernel_files.text(folder / "scaling_governor") for folder in folders]
    limits = [(_megahertz(folder / "scaling_min_freq"), _megahertz(folder / "scaling_max_freq")) for folder in folders]
    gpu = [(clock.lowest_hertz / MEGAHERTZ, clock.highest_hertz / MEGAHERTZ) for clock in machine.gpu_clocks]
    return ClockSettings(
        governors=tuple(sorted({governor for governor in governors if governor})),
        cpu_megahertz=tuple(sorted({(low, high) for low, high in limits if low is not None and high is not None})),
        gpu_megahertz=tuple(gpu),
        boost=_boost(root),
        power_mode=machine.power_mode,
    )


def current_megahertz(cpus: Sequence[int], root: Path = kernel_files.ROOT) -> dict[int, float]:
    """By cpufreq, else by `/proc/cpuinfo`, of those CPUs that have either. In a virtual machine it may never change."""
    found = {cpu: _megahertz(root / CPUS / f"cpu{cpu}/cpufreq/scaling_cur_freq") for cpu in cpus}
    clocks = {cpu: clock for cpu, clock in found.items() if clock is not None}
    return clocks or _cpuinfo_megahertz(cpus, root)


def highest_megahertz(cpus: Sequence[int], root: Path = kernel_files.ROOT) -> dict[int, float]:
    """The highest clocks that the settings allow, of those CPUs that have them."""
    found = {cpu: _megahertz(root / CPUS / f"cpu{cpu}/cpufreq/scaling_max_freq") for cpu in cpus}
    return {cpu: clock for cpu, clock in found.items() if clock is not None}


def _cpuinfo_megahertz(cpus: Sequence[int], root: Path) -> dict[int, float]:
    written = kernel_files.text(root / "proc/cpuinfo") or ""
    pattern = r"^processor\s*: ([0-9]{1,6})\n(?:.+\n)*?cpu MHz\s*: ([0-9]{1,6}(?:\.[0-9]{1,6})?)$"
    return {int(cpu): float(clock) for cpu, clock in re.findall(pattern, written, re.MULTILINE) if int(cpu) in cpus}


def _boost(root: Path) -> bool | None:
    """`boost` of acpi_cpufreq and amd_pstate, `no_turbo` of intel_pstate."""
    boost, no_turbo = (kernel_files.number(root / CPUS / name) for name in ("cpufreq/boost", "intel_pstate/no_turbo"))
    if no_turbo is not None:
        return no_turbo == 0
    return None if boost is None else boost == 1


def _megahertz(path: Path) -> float | None:
    kilohertz = kernel_files.number(path)
    return None if kilohertz is None else kilohertz * KILOHERTZ / MEGAHERTZ
