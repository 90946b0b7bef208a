"""One query: when its stages began and ended; and what runs queries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol


class Query(NamedTuple):
    """When the stages of one inference began and ended, in milliseconds since the measurement's start.

    The stages are those of trtexec (NVIDIA/TensorRT, samples/common/sampleReporting.h, `InferenceTrace`). On a CPU
    nothing is copied: both copies take no time, and the host is busy with the whole computation.

    A tuple, as it is made between queries: what is computed there finds its way into the caches of the next one.

    Attributes:
        stream: which of the streams ran it, from 0.
        enqueue_start, enqueue_end: the host's call that starts the computation.
        h2d_start, h2d_end: copy of the inputs to the device.
        compute_start, compute_end: the network.
        d2h_start, d2h_end: copy of the outputs to the host.
    """

    stream: int
    enqueue_start: float
    enqueue_end: float
    h2d_start: float
    h2d_end: float
    compute_start: float
    compute_end: float
    d2h_start: float
    d2h_end: float

    @property
    def enqueue(self) -> float:
        """Milliseconds of the host's call."""
        return self.enqueue_end - self.enqueue_start

    @property
    def h2d(self) -> float:
        """Milliseconds of the copy to the device."""
        return self.h2d_end - self.h2d_start

    @property
    def compute(self) -> float:
        """Milliseconds of the network."""
        return self.compute_end - self.compute_start

    @property
    def d2h(self) -> float:
        """Milliseconds of the copy to the host."""
        return self.d2h_end - self.d2h_start

    @property
    def latency(self) -> float:
        """Milliseconds of both copies and the network."""
        return self.h2d + self.compute + self.d2h


class Runner(Protocol):
    """Runs one model on one input again and again, in one stream.

    Attributes:
        depth: how many queries may be on their way at once.
        settings: what else its times depend on, by name.
    """

    depth: int
    settings: Mapping[str, Any]

    def submit(self) -> None:
        """Starts a query. On a CPU it is done on return."""
        ...

    def collect(self) -> Query:
        """Waits for the oldest query that was submitted and not collected."""
        ...
