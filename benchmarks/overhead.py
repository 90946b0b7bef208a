"""What `edgedet bench` adds to ONNX Runtime: its latency beside that of a C++ loop, on one core.

    python benchmarks/overhead.py [--models shufflenetv2_0.5x@128 ...] [--time-limit 120]

The loop is ort_loop.cpp. It is loaded into this process and runs the very ONNX Runtime that Python runs, with the same
settings. It is measured in turn with the queries of `edgedet bench`; then with itself called from Python for each
query, as the interpreter takes caches from whatever it calls; then with plain calls of `session.run`. It is done as
`edgedet gate` does it, everything loaded anew again and again, but in runs of queries, so that both have the caches to
themselves for a while, as in a measurement. It goes on until the whole interval of the difference lies within the
bound, which is 1 % or 20 microseconds, whichever is more, or beyond it, or the time is over. The difference is taken
within turns; the milliseconds are medians of the runs' medians, and drift with the machine.

Needs g++, and ONNX Runtime's C headers: in ONNXRUNTIME_INCLUDE_DIR, or from where `make operators` gets them.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path
from time import perf_counter

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from protocol import print_protocol

from edgedet.bench.comparison.compare import compare
from edgedet.bench.comparison.interval import Interval
from edgedet.bench.comparison.sitting import BASE, HEAD, Opener, Timer
from edgedet.bench.comparison.timers import model_opener
from edgedet.bench.opening import NO_TRUST, open_model
from edgedet.bench.pinning import pinned
from edgedet.bench.settings import Settings
from edgedet.errors import EdgedetError
from edgedet.graph.export import export_model
from edgedet.runtime.backends.onnxruntime import open_session

ROOT = Path(__file__).resolve().parents[1]
MODELS = ("shufflenetv2_0.5x@128", "shufflenetv2_0.5x@320", "mobilenetv2_0.5@320")
BOUND, BOUND_MS = 0.01, 0.020
TRIAL_RUNS = 50
RUN = 10
"""Queries of which a median is taken; a turn has three of them."""
SETTINGS = Settings()


class LoopTimer:
    """A model that the C++ loop runs."""

    def __init__(self, library: ctypes.CDLL, model: Path, values: Path) -> None:
        self._library = library
        self._loop = ctypes.c_void_p(library.loop_open(bytes(model), bytes(values), SETTINGS.threads))
        if not self._loop:
            raise EdgedetError("the C++ loop does not load it", where=model, fix="see what it printed")

    def times(self, count: int) -> list[float]:
        found = (ctypes.c_double * count)()
        if not self._library.loop_run(self._loop, count, found):
            raise EdgedetError("the C++ loop could not run the model", fix="see what it printed")
        return list(found)

    def close(self) -> None:
        self._library.loop_close(self._loop)


class CalledTimer(LoopTimer):
    """A model that the C++ loop runs, called from Python for each query, as what the interpreter touches costs too."""

    def times(self, count: int) -> list[float]:
        return [time for _ in range(count) for time in super(CalledTimer, self).times(1)]


class PlainTimer:
    """A model that plain calls of `session.run` run."""

    def __init__(self, model: Path, feeds: dict[str, NDArray[np.float32]]) -> None:
        self._session = open_session(model.read_bytes(), model, threads=SETTINGS.threads)
        self._feeds = feeds

    def times(self, count: int) -> list[float]:
        found = []
        for _ in range(count):
            start = perf_counter()
            self._session.run(None, self._feeds)
            found.append((perf_counter() - start) * 1e3)
        return found

    def close(self) -> None:
        """The memory goes with the object."""


class InRuns:
    """What times runs of queries, instead of queries: the median of each."""

    def __init__(self, timer: Timer) -> None:
        self._timer = timer

    def times(self, count: int) -> list[float]:
        return [statistics.median(self._timer.times(RUN)) for _ in range(count)]

    def close(self) -> None:
        self._timer.close()


def in_runs(opener: Opener) -> Opener:
    return lambda number: InRuns(opener(number))


def fetch_headers() -> str:
    command = [ROOT / "plugins" / "onnxruntime" / "fetch_headers.sh", ROOT / "build" / "onnxruntime"]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout.strip()


def load_loop(folder: Path) -> ctypes.CDLL:
    """Compiles the loop and loads it, so that it has ONNX Runtime's interface."""
    include = os.environ.get("ONNXRUNTIME_INCLUDE_DIR") or fetch_headers()
    source, compiled = ROOT / "benchmarks" / "ort_loop.cpp", folder / "ort_loop.so"
    flags = ["-O2", "-std=c++17", "-shared", "-fPIC", "-isystem", include]
    subprocess.run(["g++", *flags, source, "-o", compiled], check=True)
    library = ctypes.CDLL(str(compiled))
    library.loop_open.restype, library.loop_run.restype = ctypes.c_void_p, ctypes.c_bool
    onnxruntime.SessionOptions().register_custom_ops_library(str(compiled))
    return library


def within(found: Interval, bound: float) -> str:
    if -bound < found.low and found.high < bound:
        return "yes"
    return "no" if found.low > bound or found.high < -bound else "not known"


def row(name: str, way: str, loop: Opener, head: Opener, time_limit: float) -> str:
    with closing(loop(0)) as timer:
        alone = statistics.median(timer.times(TRIAL_RUNS))
    bound = max(BOUND, BOUND_MS / alone)
    found = compare(in_runs(loop), in_runs(head), tolerated=bound, time_limit=time_limit)
    if found.interrupted:
        raise KeyboardInterrupt
    base, other = (found.arms[arm].latency.median for arm in (BASE, HEAD))
    more, noise = found.verdict.slowdown, found.verdict.noise
    return (
        f"| {name} | {way} | {base:.3f} | {other:.3f} | {more.estimate * base * 1e3:+.1f} "
        f"({more.low * base * 1e3:+.1f} to {more.high * base * 1e3:+.1f}) | {more.estimate:+.2%} "
        f"({more.low:+.2%} to {more.high:+.2%}) | {noise.estimate:+.2%} ({noise.low:+.2%} to {noise.high:+.2%}) | "
        f"{found.verdict.sittings} | {bound:.2%}: {within(more, bound)} |"
    )


def rows(name: str, folder: Path, library: ctypes.CDLL, time_limit: float) -> None:
    model, values = folder / f"{name}.onnx", folder / f"{name}.raw"
    architecture, _, side = name.rpartition("@")
    export_model(architecture, model, classes=80, size=(int(side), int(side)))
    with pinned(SETTINGS.threads):
        opened = open_model(model, SETTINGS, NO_TRUST)
        opened.tensor.tofile(values)
        ways: dict[str, Opener] = {
            "`edgedet bench`": model_opener([model], SETTINGS),
            "C++, called for each query": lambda number: CalledTimer(library, model, values),
            "`session.run`": lambda number: PlainTimer(model, opened.feeds),
        }
        for way, head in ways.items():
            print(row(name, way, lambda number: LoopTimer(library, model, values), head, time_limit), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS, help="names and sizes: shufflenetv2_0.5x@128")
    parser.add_argument("--time-limit", type=float, default=120.0, help="seconds of a comparison")
    arguments = parser.parse_args()
    columns = ("model", "from Python", "C++, ms", "Python, ms", "difference, µs", "difference", "C++ beside itself")
    with tempfile.TemporaryDirectory() as folder:
        library = load_loop(Path(folder))
        print(f"| {' | '.join(columns)} | loaded | within |\n| {' | '.join(['---'] * (len(columns) + 2))} |")
        for name in arguments.models:
            rows(name, Path(folder), library, arguments.time_limit)
    print_protocol("edgedet", "onnxruntime", time_limit=arguments.time_limit)


if __name__ == "__main__":
    main()
