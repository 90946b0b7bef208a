"""What one line of a Jetson's `tegrastats` says, of JetPack 4 to 7.

Sources: Jetson Linux Developer Guide, "tegrastats Utility" (releases 32 to 38); lines of boards, as their owners show
them in public. What is written differs by board and release: `CPU [5%@1224,off]` or `CPU [5%,off]@2601`, `GR3D_FREQ`
as `0%`, `0%@76`, `99%@[612]` or `@[1574,1574,1574]`; power as `1750/1628`, `5081mW/5181mW` or with the highest as a
third: at this moment, and on average since it began. What is not understood is left out.
"""

from __future__ import annotations

import re

from pydantic import Field

from edgedet.config import Frozen

RAIL = r"(?:^|\s)([A-Z][A-Z0-9_]{1,31}) (-?[0-9]{1,7})(?:mW)?/-?[0-9]{1,7}(?:mW)?(?:/-?[0-9]{1,7}mW)?(?=\s|$)"
"""Not `RAM 1766/3964MB`. A rail that takes next to nothing can show less than 0, by the offset of its sensor."""

TOTALS = (
    ("VDD_IN",),
    ("POM_5V_IN",),
    ("VIN",),
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),
)
"""Rails that are or add up to the whole: of TX2, Xavier NX, Orin NX and Orin Nano; Nano; Thor; AGX Orin; AGX Xavier.

Sources: Jetson Linux Developer Guide, "Platform Power and Performance", power monitors of each board (of AGX Orin,
VDDQ_VDD2_1V8AO is within VIN_SYS_5V0); NVIDIA's forum, topics 73608 (Nano), 200883 (Xavier NX) and 75574 (AGX Xavier).
"""

MOMENT = r"^(\d{2}-\d{2}-\d{4} \d{2}:\d{2}:\d{2}) "
RAM = r"(?:^|\s)RAM (\d{1,9})/(\d{1,9})MB"
SWAP = r"\sSWAP (\d{1,9})/(\d{1,9})MB"
CPUS = r"\sCPU \[([^\]]{1,4096})\](?:@(\d{1,6}))?"
CPU = r"(\d{1,3})%(?:@(\d{1,6}))?"
ENGINE = r"(?:^|\s){}(?: (\d{{1,3}})%)?(?: ?@(?:(\d{{1,6}})|\[(\d{{1,6}}(?:,\d{{1,6}})*)\]))?(?=\s|$)"
GPU, MEMORY_CONTROLLER = ENGINE.format("GR3D_FREQ"), ENGINE.format("EMC_FREQ")
TEMPERATURE = r"\s([A-Za-z]\w{0,31})@(-?\d{1,3}(?:\.\d{1,6})?)C(?=[\s/]|$)"

LOWEST_CELSIUS = -100.0
"""Sensors of parts without power show -256."""


class CpuLoad(Frozen):
    """One CPU: what it does, and its clock where the line tells it."""

    percent: int
    megahertz: int | None


class TegrastatsSample(Frozen):
    """One line.

    Attributes:
        moment: when it was written, as it says itself, `10-08-2026 04:35:02`; JetPack 4 does not.
        ram_used_mib, ram_total_mib, swap_used_mib, swap_total_mib: memory; the GPU's is the same.
        cpus: by number; None is switched off.
        gpu_percent: how busy the GPU is; JetPack 7 does not tell.
        gpu_megahertz: of each of its clusters.
        memory_controller_percent, memory_controller_megahertz: of the memory's bandwidth in use, and its clock.
        celsius: temperatures by sensor.
        watts: at that moment, by rail.
    """

    moment: str | None = None
    ram_used_mib: int | None = None
    ram_total_mib: int | None = None
    swap_used_mib: int | None = None
    swap_total_mib: int | None = None
    cpus: tuple[CpuLoad | None, ...] = ()
    gpu_percent: int | None = None
    gpu_megahertz: tuple[int, ...] = ()
    memory_controller_percent: int | None = None
    memory_controller_megahertz: int | None = None
    celsius: dict[str, float] = Field(default_factory=dict)
    watts: dict[str, float] = Field(default_factory=dict)

    @property
    def total_watts(self) -> float | None:
        """Of the module; None where it is not known which rails add up to it."""
        names = total_rails(tuple(self.watts))
        return sum(self.watts[name] for name in names) if names else None

    @property
    def cpu_percent(self) -> float | None:
        """The mean of the CPUs that are on."""
        loads = [cpu.percent for cpu in self.cpus if cpu is not None]
        return sum(loads) / len(loads) if loads else None


def read_line(line: str) -> TegrastatsSample | None:
    """What a line says; None where it says nothing that is known."""
    ram, swap = (re.search(pattern, line, re.ASCII) for pattern in (RAM, SWAP))
    moment = re.search(MOMENT, line, re.ASCII)
    gpu_percent, gpu_megahertz = _engine(GPU, line)
    controller_percent, controller_megahertz = _engine(MEMORY_CONTROLLER, line)
    sample = TegrastatsSample(
        moment=None if moment is None else moment[1],
        ram_used_mib=None if ram is None else int(ram[1]),
        ram_total_mib=None if ram is None else int(ram[2]),
        swap_used_mib=None if swap is None else int(swap[1]),
        swap_total_mib=None if swap is None else int(swap[2]),
        cpus=_cpus(line),
        gpu_percent=gpu_percent,
        gpu_megahertz=gpu_megahertz,
        memory_controller_percent=controller_percent,
        memory_controller_megahertz=controller_megahertz[0] if controller_megahertz else None,
        celsius=_temperatures(line),
        watts=rails(line),
    )
    return None if sample.model_copy(update={"moment": None}) == TegrastatsSample() else sample


def rails(line: str) -> dict[str, float]:
    """Watts at the moment the line was written, by rail."""
    return {name: int(milliwatts) / 1000 for name, milliwatts in re.findall(RAIL, line)}


def total_rails(rails: tuple[str, ...]) -> tuple[str, ...]:
    """The first of `TOTALS` that a board with these rails has; empty where there is none."""
    return next((total for total in TOTALS if set(total) <= set(rails)), ())


def _cpus(line: str) -> tuple[CpuLoad | None, ...]:
    found = re.search(CPUS, line, re.ASCII)
    if found is None:
        return ()
    common = None if found[2] is None else int(found[2])
    return tuple(_cpu(part.strip(), common) for part in found[1].split(","))


def _cpu(text: str, common: int | None) -> CpuLoad | None:
    found = re.fullmatch(CPU, text, re.ASCII)
    if found is None:
        return None
    return CpuLoad(percent=int(found[1]), megahertz=common if found[2] is None else int(found[2]))


def _engine(pattern: str, line: str) -> tuple[int | None, tuple[int, ...]]:
    """How busy it is, and its clocks."""
    found = re.search(pattern, line, re.ASCII)
    if found is None:
        return None, ()
    clocks = (found[2] or found[3] or "").split(",")
    return None if found[1] is None else int(found[1]), tuple(int(clock) for clock in clocks if clock)


def _temperatures(line: str) -> dict[str, float]:
    found = {name: float(degrees) for name, degrees in re.findall(TEMPERATURE, line, re.ASCII)}
    return {name: degrees for name, degrees in found.items() if degrees > LOWEST_CELSIUS}
