"""How long a detector takes on this machine, with everything the figures depend on."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

import edgedet
from edgedet.data.images import read_image
from edgedet.errors import EdgedetError
from edgedet.files import sha256_file
from edgedet.runtime.detector import Detector
from edgedet.runtime.load import load_detector

PERCENTILES = (50, 90, 95, 99)
GENERATED_SIZE = (480, 640)


@dataclass(frozen=True)
class Statistics:
    """Of one stage's times, in milliseconds; percentiles are times that were measured (nearest rank)."""

    mean: float
    min: float
    max: float
    p50: float
    p90: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Latency:
    """The result of `measure_latency`.

    Attributes:
        protocol: what the figures depend on.
        inference: the network alone, run again and again on one input tensor.
        end_to_end: from the decoded image to the detections.
        stages: the parts of `end_to_end`: preprocess, inference, postprocess.
        throughput: images per second of `inference` and of `end_to_end`, one after the other.
    """

    protocol: dict[str, Any]
    inference: Statistics
    end_to_end: Statistics
    stages: dict[str, Statistics]
    throughput: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """A plain record, ready for JSON."""
        return asdict(self)


def measure_latency(
    model: Path,
    *,
    threads: int = 1,
    iterations: int = 100,
    warmup: int = 10,
    image: Path | None = None,
    operators: Path | None = None,
    force: bool = False,
    allow_code: bool = False,
) -> Latency:
    """The latency of a model file, its process pinned to as many cores as it has threads.

    Args:
        model: `.onnx`, `.engine` or `.pt`.
        threads: threads for inference and for OpenCV.
        iterations: timed runs of each kind.
        warmup: runs before them, not timed.
        image: the image to detect in; None generates one of 640x480.
        operators, force, allow_code: see `edgedet.runtime.load.load_detector`.

    Raises:
        EdgedetError: the model or the image cannot be read, or there are fewer cores than threads.
    """
    with pinned(threads) as cores:
        detector = load_detector(model, threads=threads, operators=operators, force=force, allow_code=allow_code)
        picture = generated_image() if image is None else read_image(image)
        images = [picture] * (detector.backend.inputs[0].shape[0] or 1)
        tensor, _ = detector.preprocess(images)
        inference = _times(lambda: _timed(detector.run, tensor), iterations, warmup)
        stages = _times(lambda: _stages(detector, images), iterations, warmup)
        found = len(detector.detect(images)[0])
    totals = [sum(row) for row in stages]
    protocol = {
        **_model_protocol(model, detector),
        **_machine_protocol(cores),
        "threads": threads,
        "iterations": iterations,
        "warmup": warmup,
        "batch": len(images),
        "input": f"{image or 'generated'} ({picture.shape[1]}x{picture.shape[0]})",
        "operators": None if operators is None else str(operators),
        "detections": found,
    }
    return Latency(
        protocol=protocol,
        inference=statistics([row[0] for row in inference]),
        end_to_end=statistics(totals),
        stages={
            name: statistics([row[index] for row in stages])
            for index, name in enumerate(("preprocess", "inference", "postprocess"))
        },
        throughput={
            "inference": len(images) * 1e3 * iterations / sum(row[0] for row in inference),
            "end_to_end": len(images) * 1e3 * iterations / sum(totals),
        },
    )


def statistics(times: Sequence[float]) -> Statistics:
    """Of times in milliseconds, at least one."""
    ordered = sorted(times)
    p50, p90, p95, p99 = (percentile(ordered, percent) for percent in PERCENTILES)
    return Statistics(sum(ordered) / len(ordered), ordered[0], ordered[-1], p50, p90, p95, p99)


def percentile(ordered: Sequence[float], percent: int) -> float:
    """Nearest rank, as `trtexec` reports it: `ordered[max(n - 1 - floor((100 - percent) * n / 100), 0)]`.

    In whole numbers: in floating point, the rank depends on the rounding of `1 - percent / 100`.
    """
    count = len(ordered)
    return ordered[max(count - 1 - (100 - percent) * count // 100, 0)]


@contextmanager
def pinned(threads: int) -> Iterator[list[int] | None]:
    """Binds this thread, and those it starts, to `threads` cores, and OpenCV to as many threads; restored after.

    Yields the cores, or None where the system cannot bind.
    """
    opencv_threads = cv2.getNumThreads()
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    if allowed is not None and threads > len(allowed):
        raise EdgedetError(
            f"{threads} threads, but only {len(allowed)} cores may be used", where="--threads", fix="use fewer"
        )
    cores = None if allowed is None else one_per_core(allowed)[:threads]
    try:
        cv2.setNumThreads(threads)
        if cores is not None:
            os.sched_setaffinity(0, cores)
        yield cores
    finally:
        cv2.setNumThreads(opencv_threads)
        if allowed is not None:
            os.sched_setaffinity(0, allowed)


def one_per_core(cpus: Sequence[int], topology: Path = Path("/sys/devices/system/cpu")) -> list[int]:
    """The CPUs, the first of each physical core before its hyperthreads, which would halve each other's speed."""

    def rank(cpu: int) -> int:
        try:
            siblings = (topology / f"cpu{cpu}/topology/thread_siblings_list").read_text()
        except OSError:
            return 0
        return sum(other in cpus and other < cpu for other in _cpu_list(siblings))

    return sorted(cpus, key=lambda cpu: (rank(cpu), cpu))


def generated_image() -> NDArray[np.uint8]:
    """A picture of 640x480 with texture at all scales; the same bytes every time."""
    height, width = GENERATED_SIZE
    random = np.random.default_rng(0)
    layers = [
        cv2.resize(random.random((height // size, width // size, 3), np.float32), (width, height))
        for size in (1, 8, 60)
    ]
    picture: NDArray[np.uint8] = (np.mean(layers, axis=0) * 255).astype(np.uint8)
    return picture


def _times(measure: Callable[[], tuple[float, ...]], iterations: int, warmup: int) -> list[tuple[float, ...]]:
    """Rows of times in milliseconds. No progress is shown: a bar would take time on the core that is measured."""
    for _ in range(warmup):
        measure()
    return [measure() for _ in range(iterations)]


def _timed(function: Callable[[NDArray[np.float32]], object], tensor: NDArray[np.float32]) -> tuple[float]:
    start = perf_counter()
    function(tensor)
    return ((perf_counter() - start) * 1e3,)


def _stages(detector: Detector, images: Sequence[NDArray[np.uint8]]) -> tuple[float, ...]:
    detector.detect(images)
    timings = detector.timings
    return timings.preprocess, timings.inference, timings.postprocess


def _model_protocol(model: Path, detector: Detector) -> dict[str, Any]:
    spec = detector.spec
    return {
        "model": str(model),
        "model_sha256": sha256_file(model),
        "architecture": spec.model,
        "random_weights": spec.random_weights,
        "imgsz": f"{spec.preprocess.width}x{spec.preprocess.height}",
        "classes": len(spec.class_names),
        "postprocess": spec.postprocess.model_dump(),
        "backend": detector.backend.name,
        "backend_settings": dict(detector.backend.settings),
    }


def _machine_protocol(cores: list[int] | None) -> dict[str, Any]:
    return {
        "edgedet": edgedet.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "system": platform.platform(),
        "cpu": _cpu_model(),
        "cpu_count": os.cpu_count(),
        "cores": cores,
        "governor": _read_line(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def _cpu_model() -> str:
    """The processor's name; on ARM boards, the board's."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model"):
                return value.strip()
    return _read_line(Path("/proc/device-tree/model")) or platform.processor() or platform.machine()


def _read_line(path: Path) -> str | None:
    try:
        return path.read_text().strip("\x00\n ")
    except OSError:
        return None


def _cpu_list(text: str) -> list[int]:
    """The CPUs in the kernel's notation: `0-1,4`."""
    ranges = (part.partition("-") for part in text.strip().split(",") if part)
    return [cpu for first, _, last in ranges for cpu in range(int(first), int(last or first) + 1)]
