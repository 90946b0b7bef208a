"""What a Jetson said of itself while something was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import mean

from edgedet.bench.machine.tegrastats_line import TegrastatsSample
from edgedet.config import Frozen


class BoardSummary(Frozen):
    """Over all samples; what no sample told is None or empty.

    Attributes:
        samples: how many there were.
        ram_used_mib: the most; ram_total_mib: of the board.
        swap_used_mib: the most.
        cpu_percent: mean over the CPUs that are on, and over time.
        gpu_percent: mean.
        gpu_megahertz: lowest and highest.
        memory_controller_percent: mean.
        celsius: the highest by sensor.
        watts: mean by rail.
    """

    samples: int
    ram_used_mib: int | None
    ram_total_mib: int | None
    swap_used_mib: int | None
    cpu_percent: float | None
    gpu_percent: float | None
    gpu_megahertz: tuple[int, int] | None
    memory_controller_percent: float | None
    celsius: dict[str, float]
    watts: dict[str, float]

    def text(self) -> str:
        """One line: `GPU 97 % busy, 1020 to 1020 MHz; CPUs 21 %; tj at most 61.3 °C; RAM at most 3120 of 7620 MiB`."""
        parts = []
        if self.gpu_percent is not None:
            parts.append(f"GPU {self.gpu_percent:.0f} % busy")
        if self.gpu_megahertz is not None:
            parts.append("GPU {} to {} MHz".format(*self.gpu_megahertz))
        if self.cpu_percent is not None:
            parts.append(f"CPUs {self.cpu_percent:.0f} %")
        if self.celsius:
            hottest = max(self.celsius, key=lambda name: self.celsius[name])
            parts.append(f"{hottest} at most {self.celsius[hottest]:.1f} °C")
        if self.ram_used_mib is not None:
            parts.append(f"RAM at most {self.ram_used_mib} of {self.ram_total_mib} MiB")
        return f"{'; '.join(parts)} ({self.samples} samples of tegrastats)"


def summarise(samples: Sequence[TegrastatsSample]) -> BoardSummary | None:
    """None of no samples."""
    if not samples:
        return None
    clocks = [clock for one in samples for clock in one.gpu_megahertz]
    return BoardSummary(
        samples=len(samples),
        ram_used_mib=_most(one.ram_used_mib for one in samples),
        ram_total_mib=_most(one.ram_total_mib for one in samples),
        swap_used_mib=_most(one.swap_used_mib for one in samples),
        cpu_percent=_mean(one.cpu_percent for one in samples),
        gpu_percent=_mean(one.gpu_percent for one in samples),
        gpu_megahertz=(min(clocks), max(clocks)) if clocks else None,
        memory_controller_percent=_mean(one.memory_controller_percent for one in samples),
        celsius={name: max(found) for name, found in _by_name(one.celsius for one in samples).items()},
        watts={name: mean(found) for name, found in _by_name(one.watts for one in samples).items()},
    )


def _most(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if known else None


def _by_name(parts: Iterable[dict[str, float]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for part in parts:
        for name, value in part.items():
            found.setdefault(name, []).append(value)
    return found
