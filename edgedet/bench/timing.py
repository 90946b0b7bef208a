"""How long a call takes, again and again."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter


def each_ms(call: Callable[[], object], count: int) -> list[float]:
    """Milliseconds of each of `count` calls, one after the other."""
    times = []
    for _ in range(count):
        start = perf_counter()
        call()
        times.append((perf_counter() - start) * 1e3)
    return times
