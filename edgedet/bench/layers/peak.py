"""What this device can do at most: multiply-accumulates and bytes a second, measured."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from edgedet.engine.inspect.formats import FP32, INT8

SIDE = 384
"""Of the matrices that are multiplied: they fit into a second-level cache, and a product takes a millisecond or so."""

PRODUCT_SECONDS, COPY_SECONDS = 0.6, 0.8
LEAST_RUNS = 3
CACHES_COPIED = 4
SMALLEST_COPY = 64 << 20
UINT8 = "UINT8"
SIZE = re.compile(r"(\d+)([KM]?)")
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20}


@dataclass(frozen=True)
class Peak:
    """The best of several measurements.

    Attributes:
        float32_gmacs: of a product of float32 matrices, thousand million multiply-accumulates a second.
        integer_gmacs: the same of uint8 by int8 into int32.
        gigabytes_per_second: read and written by a copy in memory, 10^9 bytes.
        threads: that computed and copied.
    """

    float32_gmacs: float
    integer_gmacs: float
    gigabytes_per_second: float
    threads: int

    def gmacs(self, precision: str) -> float | None:
        """The peak of what computes in a precision; None where it was not measured."""
        return {FP32: self.float32_gmacs, INT8: self.integer_gmacs, UINT8: self.integer_gmacs}.get(precision)

    def attainable_ms(self, macs: int, moved_bytes: int, precision: str) -> float | None:
        """The least milliseconds by the roofline: as long as the arithmetic or the memory takes, whichever is longer.

        S. Williams, A. Waterman, D. Patterson, "Roofline", CACM 52(4), 2009.

        Returns:
            None where there is arithmetic in a precision whose peak was not measured.
        """
        memory = moved_bytes / self.gigabytes_per_second / 1e6
        if macs == 0:
            return memory
        gmacs = self.gmacs(precision)
        return None if gmacs is None else max(macs / gmacs / 1e6, memory)


def measure_peak(threads: int) -> Peak:
    """Measures the CPU in about two seconds; the caller binds the process to its cores.

    Products are ONNX Runtime's own, with its settings for inference. Bytes are those of a copy that is larger than the
    last cache, each thread copying a part.

    Raises:
        ModuleNotFoundError: the package onnx, or onnxruntime, is not installed.
    """
    return Peak(
        float32_gmacs=_product_gmacs(threads, integers=False),
        integer_gmacs=_product_gmacs(threads, integers=True),
        gigabytes_per_second=_copied_gigabytes(threads),
        threads=threads,
    )


def _product_gmacs(threads: int, *, integers: bool) -> float:
    from edgedet.graph.matrix_product import LEFT, matrix_product
    from edgedet.runtime.backends.onnxruntime import open_session

    session = open_session(matrix_product(SIDE, integers=integers), Path("matrix product"), threads=threads)
    left = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE)).astype(np.uint8 if integers else np.float32)
    seconds = _fastest(lambda: session.run(None, {LEFT: left}), PRODUCT_SECONDS)
    return float(SIDE**3 / seconds / 1e9)


def _copied_gigabytes(threads: int) -> float:
    size = max(SMALLEST_COPY, CACHES_COPIED * last_cache_bytes()) // threads
    pairs = [(np.ones(size, np.uint8), np.zeros(size, np.uint8)) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:

        def copy() -> None:
            # NumPy lets go of the interpreter while it copies.
            list(pool.map(lambda pair: np.copyto(pair[1], pair[0]), pairs))

        seconds = _fastest(copy, COPY_SECONDS)
    return 2 * size * threads / seconds / 1e9


def _fastest(work: Callable[[], object], seconds: float) -> float:
    """The shortest of the runs that fit into `seconds`, and of three at least, in seconds. The first warms up."""
    work()
    times: list[float] = []
    end = perf_counter() + seconds
    while len(times) < LEAST_RUNS or perf_counter() < end:
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
    return min(times)


def last_cache_bytes(caches: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> int:
    """The largest cache of the first CPU, as Linux tells it (`index3/size` holds `32768K`); 0 where nothing does."""
    sizes = [0]
    for file in caches.glob("index*/size"):
        try:
            found = SIZE.fullmatch(file.read_text().strip())
        except OSError:
            continue
        if found:
            sizes.append(int(found[1]) * UNITS[found[2]])
    return max(sizes)
