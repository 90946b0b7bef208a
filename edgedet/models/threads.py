"""Limiting PyTorch's threads for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Within the block PyTorch computes on one thread.

    For tracing and counting: layers that small gain nothing from more threads, which on a busy machine wait for each
    other for seconds.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
