"""Binding a measurement to cores of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import cv2

from edgedet.bench.machine.cores import one_per_core
from edgedet.errors import EdgedetError


@contextmanager
def pinned(threads: int) -> Iterator[list[int] | None]:
    """Binds this thread, and those it starts, to `threads` cores, and OpenCV to as many threads; restored after.

    Yields the cores, or None where the system cannot bind.
    """
    opencv_threads = cv2.getNumThreads()
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    if allowed is not None and threads > len(allowed):
        raise EdgedetError(
            f"{threads} threads, but only {len(allowed)} cores may be used",
            where="--threads",
            fix="use fewer, or fewer --streams",
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
