"""Kernels on a GPU, timed in turn by its own clock."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping

import torch

Run = Callable[[], object]


def medians(runs: Mapping[str, Run], rounds: int, *, warm_up: int) -> dict[str, float]:
    """Microseconds of a call; everything is called `warm_up` times before."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(-warm_up, rounds):
        for name, run in runs.items():
            microseconds = timed(run)
            if turn >= 0:
                times[name].append(microseconds)
    return {name: statistics.median(found) for name, found in times.items()}


def timed(run: Run) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) * 1e3
