"""The most memory that a block takes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from edgedet.bench.machine.memory import Memory, MemoryMeter
from edgedet.files import MEBIBYTE
from edgedet.trt import cuda

Grow = Callable[[Mapping[str, str]], Path]

STATUS = {"proc/self/status": "Name:\tpython\nVmPeak:\t  999 kB\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\n"}


PEAKS = """
import json
import numpy as np
from edgedet.bench.machine.memory import MemoryMeter

peaks = []
for size in (0, 128 << 20, 0):
    with MemoryMeter() as meter:
        np.ones(size, np.uint8)
    memory = meter.memory
    peaks.append(None if memory is None or memory.since_process_began else memory.peak_resident_bytes)
print(json.dumps(peaks))
"""


def test_what_was_taken_and_given_back_counts_and_is_forgotten_by_the_next() -> None:
    """In a process of its own: of one that has run other tests the kernel may take back what rests meanwhile."""
    done = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True)
    quiet, greedy, after = json.loads(done.stdout)
    if quiet is None:
        pytest.skip("the kernel does not forget a peak")
    assert greedy - quiet > 120 * MEBIBYTE
    assert greedy - after > 120 * MEBIBYTE


def test_where_nothing_can_be_forgotten_it_is_the_whole_process(grow: Grow) -> None:
    root = grow(STATUS)
    (root / "proc/self/clear_refs").mkdir()
    with MemoryMeter(root=root) as meter:
        pass
    assert meter.memory == Memory(peak_resident_bytes=2 * MEBIBYTE, since_process_began=True, gpu_bytes=None)


def test_the_kernel_is_told_to_forget(grow: Grow) -> None:
    root = grow(STATUS)
    with MemoryMeter(root=root) as meter:
        assert (root / "proc/self/clear_refs").read_text() == "5"
    assert meter.memory is not None and not meter.memory.since_process_began


def test_a_kernel_that_does_not_tell(grow: Grow) -> None:
    with MemoryMeter(root=grow({"proc/self/status": "Name:\tpython\n"})) as meter:
        pass
    assert meter.memory is None


@pytest.mark.parametrize(("after", "taken"), [(700, 300), (1200, 0)])
def test_memory_of_the_gpu(monkeypatch: pytest.MonkeyPatch, grow: Grow, after: int, taken: int) -> None:
    """That others gave some back meanwhile is no memory that the engine gave."""
    free = iter((1000, after))
    monkeypatch.setattr(cuda, "free_memory_bytes", lambda: next(free))
    with MemoryMeter(on_gpu=True, root=grow(STATUS)) as meter:
        pass
    assert meter.memory is not None and meter.memory.gpu_bytes == taken
