"""Runs a detector's TensorRT engine. What it depends on is checked first, by the manifest beside it."""

from __future__ import annotations

import hashlib
import logging
import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.errors import EdgedetError
from edgedet.files import read_bytes, sha256_file
from edgedet.runtime.backend import TensorInfo
from edgedet.spec import Spec
from edgedet.trt import cuda, versions
from edgedet.trt.arrays import DeviceArray, as_device_array
from edgedet.trt.engine import Engine, new_profiler, open_engine
from edgedet.trt.manifest import ENGINE_LIMIT, Manifest, differences, read_manifest
from edgedet.trt.operators import find_operators
from edgedet.trt.platform import this_platform

logger = logging.getLogger(__name__)

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class _Buffer:
    """A tensor's memory, for the largest batch, on both sides."""

    info: TensorInfo
    host: cuda.PinnedArray
    device: cuda.DeviceMemory


class TensorRTBackend:
    """A loaded engine (`edgedet.runtime.backend.Backend`).

    Runs from the host copy to pinned memory, to the device, compute, and copy back, on one stream; from the second run
    of a batch size on as one CUDA graph, where CUDA can capture it. One thread may use it at a time.

    Attributes:
        engine: that is run, in its own context; to be read only.
    """

    def __init__(self, engine: Engine, manifest: Manifest) -> None:
        built = manifest.built_on
        self.name = f"tensorrt {engine.trt.__version__} ({built.gpu})"
        self.inputs = tuple(_tensor_info(tensor) for tensor in engine.tensors if tensor.is_input)
        self.outputs = tuple(_tensor_info(tensor) for tensor in engine.tensors if not tensor.is_input)
        self._profile = manifest.options.profile
        self._graph: cuda.Graph | None = None
        self.engine = engine
        self._enqueuer = versions.Enqueuer(engine.trt, engine.engine, engine.context)
        self._stream = cuda.Stream()
        self._batch: int | None = None
        self._largest = self._largest_batch()
        self._set_batch(self._largest)
        self._buffers = {info.name: self._new_buffer(info) for info in (*self.inputs, *self.outputs)}
        self._captures = True
        self.settings: Mapping[str, Any] = {
            "lowering": manifest.lowering,
            "strongly_typed": manifest.strongly_typed,
            "largest_batch": self._largest,
            "transfers": "pinned",
            "cuda_graph": True,
        }

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        """The outputs by name, for the inputs by name.

        Batches beyond the engine's largest are run in parts, and below its smallest are filled up with zeros.

        Raises:
            EdgedetError: an input has another type or shape than the engine's, or TensorRT or CUDA failed.
        """
        count = self.require_inputs(feeds)
        parts = []
        for start in range(0, count, self._largest):
            batch = min(self._largest, count - start)
            part = {info.name: feeds[info.name][start : start + batch] for info in self.inputs}
            parts.append(self._run_batch(part, batch))
        if len(parts) == 1:
            return parts[0]
        return {output.name: np.concatenate([part[output.name] for part in parts]) for output in self.outputs}

    def bind(self, feeds: Arrays) -> Callable[[], object]:
        """A call of `run` on these inputs."""
        return lambda: self.run(feeds)

    def run_on_device(self, feeds: Mapping[str, object], *, stream: int | None = None) -> dict[str, DeviceArray]:
        """The outputs on the device, for inputs that are there: nothing is copied.

        Args:
            feeds: by name, arrays with `__cuda_array_interface__`: of PyTorch, CuPy, PyCUDA, Numba, ... Their batch is
                one that the engine takes. What an array says nothing of, as PyTorch's, was written on `stream`, or on
                the default stream where that is None.
            stream: a `cudaStream_t` as a number, that the work is put on; the caller waits for it before the next run.
                None: a stream of the backend's, and the outputs are complete on return.

        Returns:
            arrays with `__cuda_array_interface__`, valid until the next run.

        Raises:
            EdgedetError: an input has another type, shape or layout than the engine's, or TensorRT or CUDA failed.
        """
        arrays = {info.name: as_device_array(feeds[info.name], info) for info in self.inputs if info.name in feeds}
        count = self.require_inputs(arrays)
        if not self._profile.smallest <= count <= self._largest:
            raise EdgedetError(f"{count} images at once; the engine takes {self._profile.smallest} to {self._largest}")
        for array in arrays.values():
            array.wait_for_producer(stream)
        self._set_batch(count)
        self._set_addresses({name: array.address for name, array in arrays.items()})
        self._enqueue(self._stream.handle if stream is None else stream)
        if stream is None:
            self._stream.synchronize()
        return {
            output.name: DeviceArray(self._buffers[output.name].device.address, self._shape(output), output.dtype)
            for output in self.outputs
        }

    def information(self) -> str:
        """What TensorRT's engine inspector says of the layers, as JSON."""
        inspector = self.engine.engine.create_engine_inspector()
        inspector.execution_context = self.engine.context
        return str(inspector.get_engine_information(self.engine.trt.LayerInformationFormat.JSON))

    def layer_times(self, feeds: Arrays, *, runs: int) -> dict[str, float]:
        """The median milliseconds of each layer by its name in the engine, over `runs` runs; without a CUDA graph.

        Args:
            feeds: of `run`, for one batch that the engine takes.

        Raises:
            EdgedetError: as `run`.
        """
        self.require_inputs(feeds)
        times: dict[str, list[float]] = {}
        self.engine.context.profiler = new_profiler(self.engine.trt, times)
        try:
            for _ in range(runs):
                self._run_uncaptured(feeds)
        finally:
            self.engine.context.profiler = None
        return {name: statistics.median(values) for name, values in times.items()}

    def require_inputs(self, feeds: Mapping[str, Any]) -> int:
        """The number of images, of inputs by name as `run` takes them.

        Raises:
            EdgedetError: one is missing, or has another type or shape than the engine's.
        """
        for info in self.inputs:
            if info.name not in feeds:
                raise EdgedetError(f"the input {info.name} is missing", where=self.name)
            array = feeds[info.name]
            fits = array.dtype == info.dtype and array.shape[1:] == info.shape[1:] and array.shape[0] >= 1
            if not fits or info.shape[0] not in (None, array.shape[0]):
                expected = f"{info.dtype} {['B' if size is None else size for size in info.shape]}"
                found = f"{array.dtype} {list(array.shape)}"
                raise EdgedetError(f"the input {info.name} is {found}, not {expected}", where=self.name)
        return int(feeds[self.inputs[0].name].shape[0])

    def failure(self, what: str) -> EdgedetError:
        """The error that says what TensorRT refused, with what it complained of last."""
        said = f" ({self.engine.errors[-1][:300]})" if self.engine.errors else ""
        return EdgedetError(f"TensorRT {what}{said}", where=self.name, fix="build the engine again on this machine")

    def _run_batch(self, feeds: Arrays, count: int) -> dict[str, NDArray[Any]]:
        batch = max(count, self._profile.smallest)
        graph = self._graph if batch == self._batch else None
        if graph is None:
            self._run_uncaptured(feeds)
        else:
            self._fill(feeds, batch)
            graph.launch(self._stream)
            self._stream.synchronize()
        results = {output.name: self._buffers[output.name].host.array[:count].copy() for output in self.outputs}
        if graph is None and self._captures:
            self._capture()
        return results

    def _run_uncaptured(self, feeds: Arrays) -> None:
        count = len(feeds[self.inputs[0].name])
        batch = max(count, self._profile.smallest)
        self._fill(feeds, batch)
        self._set_batch(batch)
        self._set_addresses({})
        self._transfer_and_enqueue()
        self._stream.synchronize()

    def _fill(self, feeds: Arrays, batch: int) -> None:
        """Puts the inputs into the host's memory, and zeros behind them up to the batch."""
        for info in self.inputs:
            array, rows = feeds[info.name], self._buffers[info.name].host.array
            rows[: len(array)] = array
            rows[len(array) : batch] = 0

    def _capture(self) -> None:
        """Behind a first run of this batch size, in which TensorRT prepares what may not be captured."""
        self._graph = cuda.capture(self._stream, self._transfer_and_enqueue)
        if self._graph is None:
            logger.info("CUDA cannot capture this engine: it is enqueued anew for each run")
            self._captures = False
            self.settings = {**self.settings, "cuda_graph": False}

    def _transfer_and_enqueue(self) -> None:
        for name in (info.name for info in self.inputs):
            buffer = self._buffers[name]
            cuda.copy_to_device(buffer.device.address, buffer.host.address, self._bytes(buffer.info), self._stream)
        self._enqueue(self._stream.handle)
        for output in self.outputs:
            buffer = self._buffers[output.name]
            cuda.copy_to_host(buffer.host.address, buffer.device.address, self._bytes(output), self._stream)

    def _enqueue(self, stream: int) -> None:
        if not self._enqueuer.enqueue(stream):
            raise self.failure("did not start the network")

    def _set_batch(self, batch: int) -> None:
        if batch == self._batch:
            return
        for info in self.inputs:
            if info.shape[0] is None and not self._enqueuer.set_input_shape(info.name, (batch, *_sizes(info))):
                raise self.failure(f"does not take {batch} images at once")
        self._batch = batch

    def _set_addresses(self, inputs: Mapping[str, int]) -> None:
        """Of the backend's own memory, but for the inputs given. A graph is of the context as it was: it is dropped."""
        self._graph = None
        for name, buffer in self._buffers.items():
            address = inputs.get(name, buffer.device.address)
            if not self._enqueuer.set_address(name, address):
                raise self.failure(f"does not take the memory of {name}")

    def _largest_batch(self) -> int:
        free = [info for info in self.inputs if info.shape[0] is None]
        if free:
            return versions.largest_batch(self.engine.trt, self.engine.engine, free[0].name)
        return int(self.inputs[0].shape[0] or 1)

    def _new_buffer(self, info: TensorInfo) -> _Buffer:
        shape = self._shape(info)
        if min(shape, default=1) < 0:
            raise EdgedetError(f"the size of {info.name} depends on the data: {list(shape)}", where=self.name)
        host = cuda.PinnedArray(shape, info.dtype)
        return _Buffer(info, host, cuda.DeviceMemory(host.size))

    def _shape(self, info: TensorInfo) -> tuple[int, ...]:
        """For the batch that is set."""
        if info in self.inputs:
            return (self._batch or 1, *_sizes(info))
        return self._enqueuer.output_shape(info.name)

    def _bytes(self, info: TensorInfo) -> int:
        return math.prod(self._shape(info)) * info.dtype.itemsize


def load(
    path: Path, *, operators: Path | None = None, force: bool = False, allow_code: bool = False
) -> tuple[TensorRTBackend, Spec]:
    """The backend and the specification of an engine that `edgedet build` made.

    Args:
        path: the plan; its manifest stands beside it.
        operators: library of edgedet's operators as TensorRT plugins: code that is run. None looks for one where
            libraries are installed, if the engine needs it.
        force: load it although it was built for another machine, or was changed.
        allow_code: run code inside a version-compatible plan.

    Raises:
        EdgedetError: a file is missing or broken, the engine is not for this machine, or TensorRT does not take it.
        ModuleNotFoundError: TensorRT's Python module is not installed.
    """
    manifest = read_manifest(path)
    needed = manifest.operators is not None and not manifest.options.serialize_operators
    library = find_operators(operators) if needed else None
    plan = read_bytes(path, limit=ENGINE_LIMIT)
    require_same(manifest, path, plan, library, force=force)
    if manifest.options.version_compatible and not allow_code:
        raise EdgedetError(
            "the plan is version-compatible: it carries code, which is run",
            where=path,
            fix="give --allow-code if you built it, or trust who did",
        )
    engine = open_engine(
        plan,
        where=path,
        operators=library,
        allow_code=manifest.options.version_compatible,
        dla_core=manifest.options.dla_core,
    )
    return TensorRTBackend(engine, manifest), manifest.spec


def require_same(manifest: Manifest, path: Path, plan: bytes, operators: Path | None, *, force: bool) -> None:
    """Refuses an engine that is not as it was built, or not for this machine; with `force` it is only said.

    Raises:
        EdgedetError: with every difference and the command that builds it anew.
    """
    library_sha256 = None if operators is None else sha256_file(operators)
    found = list(differences(manifest, hashlib.sha256(plan).hexdigest(), this_platform(), library_sha256))
    if not found:
        return
    if not force:
        raise EdgedetError(
            f"not loaded: {'; '.join(found)}",
            where=path,
            fix=f"build it on this machine: {manifest.rebuild_command()} (--force loads it all the same)",
        )
    logger.warning("%s is loaded by force: %s", path, "; ".join(found))


def _tensor_info(tensor: versions.IOTensor) -> TensorInfo:
    return TensorInfo(tensor.name, tensor.shape, np.dtype(tensor.dtype))


def _sizes(info: TensorInfo) -> tuple[int, ...]:
    return tuple(size or 1 for size in info.shape[1:])
