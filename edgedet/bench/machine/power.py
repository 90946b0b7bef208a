"""Power while something is measured, and energy for each frame."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from edgedet.bench.machine import kernel_files
from edgedet.bench.machine.board_summary import BoardSummary, summarise
from edgedet.bench.machine.nvml import find_nvml
from edgedet.bench.machine.power_source import PowerSource, Reading
from edgedet.bench.machine.rapl import find_rapl
from edgedet.bench.machine.tegrastats import find_tegrastats
from edgedet.config import Frozen
from edgedet.errors import EdgedetError

INTERVAL = 0.1
"""Seconds between readings: sensors of Jetsons and of NVIDIA's GPUs have nothing new much more often."""

SECONDS_TO_END = 5.0

NO_SOURCE = "this machine does not tell its power: no tegrastats, and no NVML (for a GPU) or RAPL (for a CPU)"


class Power(Frozen):
    """Means over the time that was measured.

    Attributes:
        source: what told it: `tegrastats`, `NVML` or `RAPL`. Two sources cover different parts: their figures do not
            compare.
        covers: what the total is the power of.
        rails: mean watts by rail.
        total_rails: those that add up to the total.
        watts: the total.
        energy_joules: the total over `seconds`.
        samples: how many readings there were.
        seconds: how long was measured.
        throttle_reasons: why the GPU was slower than it can be, at any reading.
        gpu_celsius: the highest temperature of the GPU.
    """

    source: str
    covers: str
    rails: dict[str, float]
    total_rails: tuple[str, ...]
    watts: float
    energy_joules: float
    samples: int
    seconds: float
    throttle_reasons: tuple[str, ...]
    gpu_celsius: float | None

    def energy_per_frame(self, frames: int) -> float:
        """Joules, of the whole that `covers` names, rest included."""
        return self.energy_joules / frames


@dataclass(frozen=True)
class _Sample:
    """A reading, and how many seconds it stands for."""

    reading: Reading
    seconds: float


class PowerMeter:
    """Reads power ten times a second while a `with` block runs, in a thread on a core that is not measured.

    Attributes:
        power: the result, after the block; None where there is none.
        board: what else a Jetson said of itself meanwhile.
        reason: why there is no power.
    """

    power: Power | None = None
    board: BoardSummary | None = None
    reason: str | None = None

    def __init__(
        self,
        *,
        on_gpu: bool,
        bus_id: str | None = None,
        measured_cpus: Collection[int] = (),
        root: Path = kernel_files.ROOT,
    ) -> None:
        """Nothing is opened before the block.

        Args:
            on_gpu: whether a GPU computes: NVML tells its power, RAPL that of CPUs, and tegrastats both of a Jetson.
            bus_id: the GPU's place, see `edgedet.bench.machine.nvml.find_nvml`.
            measured_cpus: the thread keeps away from them, where there are others.
            root: the folder that holds `sys`.
        """
        self._on_gpu, self._bus_id, self._measured_cpus, self._root = on_gpu, bus_id, measured_cpus, root
        self._source: PowerSource | None = None
        self._samples: list[_Sample] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read_on, name="power meter", daemon=True)

    def __enter__(self) -> PowerMeter:
        """Opens the first source there is; without one the block runs all the same."""
        try:
            with _elsewhere(self._measured_cpus):
                self._source = self._find()
                self._begin = self._last = time.monotonic()
                if self._source is None:
                    self.reason = NO_SOURCE
                else:
                    self._thread.start()
        except EdgedetError as error:
            self.reason = str(error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stops, and makes the result."""
        if self._source is None:
            return
        self._stop.set()
        self._thread.join(SECONDS_TO_END)
        if self._thread.is_alive():
            # The source hangs in the driver. It is left alone: to close it would hang, too.
            self.reason = f"{self._source.name} does not answer"
            return
        if self.reason is None:
            self._read()
        seconds = time.monotonic() - self._begin
        self._source.close()
        if self.reason is None:
            self.power, self.reason = _result(self._source, self._samples, seconds)
        self.board = summarise([one.reading.board for one in self._samples if one.reading.board is not None])

    def _find(self) -> PowerSource | None:
        jetson = find_tegrastats()
        if jetson is not None:
            return jetson
        return find_nvml(self._bus_id) if self._on_gpu else find_rapl(self._root)

    def _read_on(self) -> None:
        while self.reason is None and not self._stop.wait(INTERVAL):
            self._read()

    def _read(self) -> None:
        assert self._source is not None
        try:
            reading = self._source.read()
        except EdgedetError as error:
            self.reason = str(error)
            return
        if reading is not None:
            moment = time.monotonic()
            self._samples.append(_Sample(reading, moment - self._last))
            self._last = moment


@contextmanager
def _elsewhere(cpus: Collection[int]) -> Iterator[None]:
    """Threads and programs that are started inside run on other CPUs, where there are any."""
    if not cpus or not hasattr(os, "sched_getaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    with suppress(OSError):
        os.sched_setaffinity(0, set(range(os.cpu_count() or 1)) - set(cpus) or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _result(source: PowerSource, samples: Sequence[_Sample], seconds: float) -> tuple[Power | None, str | None]:
    """The power, or why there is none."""
    if not samples:
        return None, f"{source.name} said nothing in {seconds:.1f} s"
    rails = tuple(samples[0].reading.watts)
    if any(tuple(sample.reading.watts) != rails for sample in samples):
        return None, f"{source.name} did not always show the same rails"
    total_rails = source.total_rails(rails)
    if not total_rails:
        return None, f"which of {source.name}'s rails add up to the total is not known: {', '.join(rails)}"
    covered = sum(sample.seconds for sample in samples)
    means = {rail: sum(sample.reading.watts[rail] * sample.seconds for sample in samples) / covered for rail in rails}
    watts = sum(means[rail] for rail in total_rails)
    temperatures = [sample.reading.celsius for sample in samples if sample.reading.celsius is not None]
    power = Power(
        source=source.name,
        covers=source.covers,
        rails=means,
        total_rails=total_rails,
        watts=watts,
        energy_joules=watts * seconds,
        samples=len(samples),
        seconds=seconds,
        throttle_reasons=tuple(sorted({reason for sample in samples for reason in sample.reading.throttle_reasons})),
        gpu_celsius=max(temperatures, default=None),
    )
    return power, None
