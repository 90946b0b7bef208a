"""Runs what a CPU computes: a query is a call."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

from edgedet.bench.query import Query


class CallRunner:
    """Runs a function again and again (`edgedet.bench.query.Runner`); its whole time counts as computation.

    Args:
        call: one query.
        zero: seconds of `time.perf_counter` that the times of queries count from.
        stream: which of the streams this is, from 0.
    """

    depth = 1
    settings: Mapping[str, Any] = {}

    def __init__(self, call: Callable[[], object], *, zero: float, stream: int = 0) -> None:
        self._call, self._zero, self._stream = call, zero, stream
        self._done: deque[tuple[float, float]] = deque()

    def submit(self) -> None:
        """Runs a query."""
        start = perf_counter()
        self._call()
        self._done.append((start, perf_counter()))

    def collect(self) -> Query:
        """The times of the oldest query that was not collected."""
        start, end = self._done.popleft()
        start, end = (start - self._zero) * 1e3, (end - self._zero) * 1e3
        return Query(self._stream, start, end, start, start, start, end, end, end)
