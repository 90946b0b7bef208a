"""Runs an engine for its times, as trtexec does: events on three streams, and two queries on their way at once.

Source: NVIDIA/TensorRT, samples/common/sampleInference.cpp: `Iteration` (v8.6.1), `IterationBase` (v10.16 and v11.1).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.bench.query import Query
from edgedet.errors import EdgedetError
from edgedet.runtime.backends.tensorrt import TensorRTBackend
from edgedet.trt import cuda, versions

logger = logging.getLogger(__name__)

DEPTH = 2
"""The copies of one query are hidden behind the computation of the other."""


@dataclass(frozen=True)
class Zero:
    """The start of a measurement, by the clocks of the host and of the GPU; all its runners count from it.

    Attributes:
        host: seconds of `time.perf_counter`.
        gpu: an event that was reached.
    """

    host: float
    gpu: cuda.Event

    @classmethod
    def now(cls) -> Zero:
        """The start of a measurement that begins now.

        Raises:
            EdgedetError: CUDA failed.
        """
        stream, event = cuda.Stream(), cuda.Event()
        host = perf_counter()
        event.record(stream)
        event.synchronize()
        return cls(host, event)

    def elapsed(self) -> float:
        """Milliseconds since then, by the host's clock."""
        return (perf_counter() - self.host) * 1e3


class TensorRTRunner:
    """Runs an engine on one batch again and again, in a context of its own (`edgedet.bench.query.Runner`).

    Inputs are copied on one stream, the network runs on a second one, and outputs are copied on a third. Unlike in
    trtexec each query on its way has memory of its own, not one for both: what the network reads must not be written
    meanwhile (NvInferRuntime.h, `IExecutionContext::enqueueV3`). A CUDA graph holds the network alone, without copies.
    One thread may use it at a time; runners of one engine may be used in turn.

    Where the GPU is idle it reaches the start of the computation before the host has enqueued that; the time for it
    counts as computation, as in trtexec, and takes longer in Python.

    Args:
        backend: has the engine; its own context is left alone.
        feeds: inputs by name, a batch that the engine takes; they are copied.
        zero: what the times of queries count from.
        stream_index: which of the streams this is, from 0.
        transfers: copy inputs and outputs with every query; else inputs once before, and outputs when asked for.
        cuda_graph: capture the network and launch it as one; where CUDA cannot capture it, it is enqueued.
        spin: keep the processor busy while waiting, to learn sooner that a query is done.

    Attributes:
        depth: how many queries may be on their way at once.
        settings: `transfers`, `cuda_graph` (whether there really is one), `spin` and `depth`.

    Raises:
        EdgedetError: an input has another type or shape than the engine's, or TensorRT or CUDA failed.
    """

    def __init__(
        self,
        backend: TensorRTBackend,
        feeds: Mapping[str, NDArray[Any]],
        *,
        zero: Zero,
        stream_index: int = 0,
        transfers: bool = True,
        cuda_graph: bool = False,
        spin: bool = False,
    ) -> None:
        backend.require_inputs(feeds)
        self._backend, self._zero, self._stream_index, self._transfers = backend, zero, stream_index, transfers
        self._enqueuer = versions.Enqueuer(backend.engine.trt, backend.engine.engine, _new_context(backend))
        self._set_shapes(feeds)
        self._input, self._compute, self._output = cuda.Stream(), cuda.Stream(), cuda.Stream()
        slots = [self._new_slot(feeds, spin) for _ in range(DEPTH)]
        for slot in slots:
            self._copy_inputs(slot)
        self._input.synchronize()
        graphs = self._capture(slots) if cuda_graph else []
        if graphs:
            slots = [replace(slot, graph=graph) for slot, graph in zip(slots, graphs, strict=True)]
        self._free = deque(slots)
        self._under_way: deque[_UnderWay] = deque()
        self._collected: _Slot | None = None
        self.depth = DEPTH
        self.settings: Mapping[str, Any] = {
            "transfers": transfers,
            "cuda_graph": bool(graphs),
            "spin": spin,
            "depth": DEPTH,
        }

    def submit(self) -> None:
        """Puts a query on the streams, and waits for nothing.

        Raises:
            EdgedetError: `depth` queries are on their way, or TensorRT or CUDA failed.
        """
        if not self._free:
            raise EdgedetError(f"{self.depth} queries are on their way already", fix="collect one of them first")
        slot = self._free.popleft()
        if slot.graph is None:
            self._set_addresses(slot)
        if self._transfers:
            slot.h2d.start.record(self._input)
            self._copy_inputs(slot)
            slot.h2d.end.record(self._input)
            self._compute.wait_for(slot.h2d.end)
        slot.compute.start.record(self._compute)
        enqueue_start = self._zero.elapsed()
        if slot.graph is None:
            self._enqueue()
        else:
            slot.graph.launch(self._compute)
        enqueue_end = self._zero.elapsed()
        slot.compute.end.record(self._compute)
        if self._transfers:
            self._output.wait_for(slot.compute.end)
            slot.d2h.start.record(self._output)
            self._copy_outputs(slot)
            slot.d2h.end.record(self._output)
        self._under_way.append(_UnderWay(slot, enqueue_start, enqueue_end))

    def collect(self) -> Query:
        """Waits for the oldest query that was submitted and not collected. Without transfers, its copies take no time.

        Raises:
            EdgedetError: there is none, or CUDA failed.
        """
        if not self._under_way:
            raise EdgedetError("no query is on its way", fix="submit one first")
        done = self._under_way.popleft()
        slot = done.slot
        (slot.d2h if self._transfers else slot.compute).end.synchronize()
        compute_start, compute_end = slot.compute.times(self._zero)
        h2d_start, h2d_end = slot.h2d.times(self._zero) if self._transfers else (compute_start, compute_start)
        d2h_start, d2h_end = slot.d2h.times(self._zero) if self._transfers else (compute_end, compute_end)
        self._free.append(slot)
        self._collected = slot
        return Query(
            stream=self._stream_index,
            enqueue_start=done.enqueue_start,
            enqueue_end=done.enqueue_end,
            h2d_start=h2d_start,
            h2d_end=h2d_end,
            compute_start=compute_start,
            compute_end=compute_end,
            d2h_start=d2h_start,
            d2h_end=d2h_end,
        )

    def outputs(self) -> dict[str, NDArray[Any]]:
        """The outputs of the last query that was collected, by name; a later query in the same memory is waited for.

        Raises:
            EdgedetError: none was collected yet, or CUDA failed.
        """
        slot = self._collected
        if slot is None:
            raise EdgedetError("no query was collected yet", fix="submit and collect one first")
        if not self._transfers:
            self._output.wait_for(slot.compute.end)
            self._copy_outputs(slot)
        self._output.synchronize()
        return {name: memory.host.array.copy() for name, memory in slot.outputs.items()}

    def _new_slot(self, feeds: Mapping[str, NDArray[Any]], spin: bool) -> _Slot:
        inputs = {info.name: _Memory.of(feeds[info.name].shape, info.dtype) for info in self._backend.inputs}
        for name, memory in inputs.items():
            memory.host.array[...] = feeds[name]
        shapes = {info.name: self._enqueuer.output_shape(info.name) for info in self._backend.outputs}
        outputs = {info.name: _Memory.of(shapes[info.name], info.dtype) for info in self._backend.outputs}
        h2d, compute, d2h = (_Stage(cuda.Event(spin=spin), cuda.Event(spin=spin)) for _ in range(3))
        return _Slot(inputs, outputs, h2d, compute, d2h)

    def _capture(self, slots: Sequence[_Slot]) -> list[cuda.Graph]:
        """A graph for each; none at all where one cannot be captured, so that queries take the same way."""
        graphs = []
        for slot in slots:
            self._set_addresses(slot)
            self._enqueue()  # in a first run TensorRT prepares what may not be captured
            self._compute.synchronize()
            graph = cuda.capture(self._compute, self._enqueue)
            if graph is None:
                logger.warning("CUDA cannot capture this engine: it is enqueued anew for each query")
                return []
            graphs.append(graph)
        return graphs

    def _set_shapes(self, feeds: Mapping[str, NDArray[Any]]) -> None:
        for info in self._backend.inputs:
            shape = feeds[info.name].shape
            if info.shape[0] is None and not self._enqueuer.set_input_shape(info.name, shape):
                raise self._backend.failure(f"does not take {shape[0]} images at once")

    def _set_addresses(self, slot: _Slot) -> None:
        for name, memory in (*slot.inputs.items(), *slot.outputs.items()):
            if not self._enqueuer.set_address(name, memory.device.address):
                raise self._backend.failure(f"does not take the memory of {name}")

    def _enqueue(self) -> None:
        if not self._enqueuer.enqueue(self._compute.handle):
            raise self._backend.failure("did not start the network")

    def _copy_inputs(self, slot: _Slot) -> None:
        for memory in slot.inputs.values():
            cuda.copy_to_device(memory.device.address, memory.host.address, memory.host.size, self._input)

    def _copy_outputs(self, slot: _Slot) -> None:
        for memory in slot.outputs.values():
            cuda.copy_to_host(memory.host.address, memory.device.address, memory.host.size, self._output)


@dataclass(frozen=True)
class _Memory:
    """A tensor's memory on both sides."""

    host: cuda.PinnedArray
    device: cuda.DeviceMemory

    @classmethod
    def of(cls, shape: tuple[int, ...], dtype: np.dtype[Any]) -> _Memory:
        host = cuda.PinnedArray(shape, dtype)
        return cls(host, cuda.DeviceMemory(host.size))


@dataclass(frozen=True)
class _Stage:
    """The events at both ends of a stage of a query."""

    start: cuda.Event
    end: cuda.Event

    def times(self, zero: Zero) -> tuple[float, float]:
        """Milliseconds from zero to both."""
        return self.start.milliseconds_since(zero.gpu), self.end.milliseconds_since(zero.gpu)


@dataclass(frozen=True)
class _Slot:
    """What a query on its way has for itself; the next query takes it over."""

    inputs: Mapping[str, _Memory]
    outputs: Mapping[str, _Memory]
    h2d: _Stage
    compute: _Stage
    d2h: _Stage
    graph: cuda.Graph | None = None


@dataclass(frozen=True)
class _UnderWay:
    """A query that was submitted: the host's call is over."""

    slot: _Slot
    enqueue_start: float
    enqueue_end: float


def _new_context(backend: TensorRTBackend) -> Any:
    """An execution context beside the backend's.

    Before TensorRT 9 a context has a profile to itself, and edgedet builds one profile: where sizes are free, another
    context is left without (NvInferRuntime.h of 8.6, `ICudaEngine::createExecutionContext`).
    """
    context = backend.engine.engine.create_execution_context()
    if context is None:
        raise backend.failure("gives no further execution context")
    is_free = any(None in info.shape for info in backend.inputs)
    if is_free and context.active_optimization_profile < 0:
        raise EdgedetError(
            "this TensorRT runs an engine of a free batch size in one context alone, and it is taken",
            where=backend.name,
            fix="export the model with a fixed batch, and build that",
        )
    return context
