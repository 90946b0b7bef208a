"""The CUDA runtime library: Polygraphy's wrapper of it, and what that lacks.

Source: CUDA Runtime API reference (memory, stream, event, graph and device management), the same from 10.2 to 13 for
what is used here. All addresses and handles are plain numbers.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.errors import EdgedetError

MAJOR, MINOR, MULTIPROCESSORS = 75, 76, 16
"""`cudaDeviceAttr`: compute capability and number of streaming multiprocessors."""

PROPERTIES_BYTES = 1 << 14
"""More than `cudaDeviceProp` has in any version; its first 256 bytes are the name."""

THREAD_LOCAL_CAPTURE = 1
"""`cudaStreamCaptureModeThreadLocal`: other threads may go on allocating memory."""

BLOCKING_SYNC = 1
"""`cudaEventBlockingSync`: who waits for the event sleeps; without it, the processor is kept busy until then."""

SEE_DOCTOR = "see what edgedet doctor and nvidia-smi say of the GPU"


@dataclass(frozen=True)
class Gpu:
    """The current GPU.

    Attributes:
        name: as the driver calls it; all Orin modules are called `Orin`.
        compute_capability: e.g. `8.7`.
        multiprocessors: how many, which tells modules of one name apart.
        memory_bytes: in all.
    """

    name: str
    compute_capability: str
    multiprocessors: int
    memory_bytes: int


@lru_cache(maxsize=1)
def _wrapper() -> Any:
    """Polygraphy's wrapper, whose `handle` is the library.

    Raises:
        EdgedetError: there is no CUDA runtime library, or no Polygraphy.
    """
    try:
        from polygraphy import cuda
        from polygraphy.logger import G_LOGGER
    except ModuleNotFoundError as error:
        raise EdgedetError("Polygraphy is not installed", fix="pip install 'edgedet[trt]'") from error
    try:
        with G_LOGGER.verbosity(G_LOGGER.CRITICAL):
            try:
                return cuda.wrapper()
            except OSError:
                with _looked_for_in(_folders_of_wheels()):
                    return cuda.wrapper()
    except Exception as error:  # OSError of the loader, or Polygraphy's own
        raise EdgedetError(
            f"there is no CUDA runtime library ({error})",
            fix="install CUDA (on a Jetson: JetPack), or name its folder in LD_LIBRARY_PATH",
        ) from error


def _folders_of_wheels() -> list[str]:
    """Where NVIDIA's packages of pip have the library: `nvidia/cu13/lib`; Polygraphy knows those of CUDA 12."""
    found = (folder for path in sys.path if path for folder in sorted(Path(path).glob("nvidia/cu*/lib")))
    return [str(folder) for folder in found if any(folder.glob("libcudart.so*"))]


@contextmanager
def _looked_for_in(folders: list[str]) -> Iterator[None]:
    """Polygraphy looks into LD_LIBRARY_PATH; it takes no folder otherwise."""
    before = os.environ.get("LD_LIBRARY_PATH")
    os.environ["LD_LIBRARY_PATH"] = os.pathsep.join([*folders, *([before] if before else [])])
    try:
        yield
    finally:
        if before is None:
            del os.environ["LD_LIBRARY_PATH"]
        else:
            os.environ["LD_LIBRARY_PATH"] = before


def gpu() -> Gpu:
    """The current GPU.

    Raises:
        EdgedetError: there is no CUDA runtime library, no driver or no GPU.
    """
    device = ctypes.c_int()
    properties = ctypes.create_string_buffer(PROPERTIES_BYTES)
    _call("cudaGetDevice", ctypes.byref(device))
    _call("cudaGetDeviceProperties", properties, device)
    major, minor, multiprocessors = (_attribute(code, device) for code in (MAJOR, MINOR, MULTIPROCESSORS))
    name = properties.raw[:256].split(b"\0")[0].decode(errors="replace")
    return Gpu(name, f"{major}.{minor}", multiprocessors, _memory_bytes()[1])


def free_memory_bytes() -> int:
    """Of the GPU; on a Jetson of the board, whose memory both share."""
    return _memory_bytes()[0]


def cuda_versions() -> tuple[str, str]:
    """Of the runtime library, and the newest that the driver knows; e.g. `12.6`. `0.0` is a driver that is not there.

    Raises:
        EdgedetError: there is no CUDA runtime library.
    """
    versions = []
    for name in ("cudaRuntimeGetVersion", "cudaDriverGetVersion"):
        code = ctypes.c_int()
        _call(name, ctypes.byref(code))
        versions.append(f"{code.value // 1000}.{code.value % 1000 // 10}")
    return versions[0], versions[1]


class Stream:
    """A stream of its own. Freed with the object."""

    def __init__(self) -> None:
        handle = ctypes.c_void_p()
        _call("cudaStreamCreate", ctypes.byref(handle))
        self.handle = handle.value or 0
        self._free = weakref.finalize(self, _ignore, "cudaStreamDestroy", self.handle)

    def synchronize(self) -> None:
        """Waits until everything that was put on it is done.

        Raises:
            EdgedetError: something of it failed.
        """
        synchronize(self.handle)

    def wait_for(self, event: Event) -> None:
        """What is put on it from now on waits until the event's stream reaches it; the caller does not."""
        _call("cudaStreamWaitEvent", ctypes.c_void_p(self.handle), ctypes.c_void_p(event.handle), ctypes.c_uint(0))


class Event:
    """A mark on a stream, and when the stream reached it. Freed with the object.

    Args:
        spin: whether who waits for it keeps the processor busy, to learn of it sooner.
    """

    def __init__(self, *, spin: bool = False) -> None:
        handle = ctypes.c_void_p()
        _call("cudaEventCreateWithFlags", ctypes.byref(handle), ctypes.c_uint(0 if spin else BLOCKING_SYNC))
        self.handle = handle.value or 0
        self._free = weakref.finalize(self, _ignore, "cudaEventDestroy", self.handle)

    def record(self, stream: Stream) -> None:
        """Puts it on a stream. It marks one place: the one before is forgotten."""
        _call("cudaEventRecord", ctypes.c_void_p(self.handle), ctypes.c_void_p(stream.handle))

    def synchronize(self) -> None:
        """Waits until its stream reaches it.

        Raises:
            EdgedetError: something on the stream failed.
        """
        _call("cudaEventSynchronize", ctypes.c_void_p(self.handle))

    def milliseconds_since(self, earlier: Event) -> float:
        """From when `earlier` was reached to when this was, to about half a microsecond.

        Raises:
            EdgedetError: one of them was not reached yet.
        """
        milliseconds = ctypes.c_float()
        events = ctypes.c_void_p(earlier.handle), ctypes.c_void_p(self.handle)
        _call("cudaEventElapsedTime", ctypes.byref(milliseconds), *events)
        return milliseconds.value


def synchronize(stream: int) -> None:
    """Waits for a `cudaStream_t`; 1 and 2 are the default streams of old and of each thread.

    Raises:
        EdgedetError: something on it failed.
    """
    _call("cudaStreamSynchronize", ctypes.c_void_p(stream))


class DeviceMemory:
    """Bytes on the device, aligned to 256. Freed with the object."""

    def __init__(self, size: int) -> None:
        pointer = ctypes.c_void_p()
        _call("cudaMalloc", ctypes.byref(pointer), ctypes.c_size_t(max(size, 1)))
        self.address, self.size = pointer.value or 0, size
        self._free = weakref.finalize(self, _ignore, "cudaFree", self.address)


class PinnedArray:
    """An array on the host, in memory that the device copies from and to without the processor. Freed with the object.

    Attributes:
        array: NumPy's view of it; not to be used longer than the object.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        size = math.prod(shape) * dtype.itemsize
        pointer = ctypes.c_void_p()
        _call("cudaHostAlloc", ctypes.byref(pointer), ctypes.c_size_t(max(size, 1)), ctypes.c_uint(0))
        self.address, self.size = pointer.value or 0, size
        buffer = (ctypes.c_char * size).from_address(self.address)
        self.array: NDArray[Any] = np.ndarray(shape, dtype, memoryview(buffer))
        self._free = weakref.finalize(self, _ignore, "cudaFreeHost", self.address)


class Graph:
    """What was put on a stream while it was captured, to be put there again at once. Freed with the object."""

    def __init__(self, executable: int) -> None:
        self._executable = executable
        self._free = weakref.finalize(self, _ignore, "cudaGraphExecDestroy", executable)

    def launch(self, stream: Stream) -> None:
        """Puts it all on a stream."""
        _call("cudaGraphLaunch", ctypes.c_void_p(self._executable), ctypes.c_void_p(stream.handle))


def copy_to_device(target: int, source: int, size: int, stream: Stream) -> None:
    """Puts a copy of `size` bytes from the host on a stream."""
    _copy(target, source, size, 1, stream)


def copy_to_host(target: int, source: int, size: int, stream: Stream) -> None:
    """Puts a copy of `size` bytes from the device on a stream."""
    _copy(target, source, size, 2, stream)


def capture(stream: Stream, work: Callable[[], None]) -> Graph | None:
    """What `work` puts on a stream, as a graph; None where it cannot be captured. It does not run by this."""
    library = _wrapper().handle
    if not hasattr(library, "cudaGraphInstantiateWithFlags"):  # before CUDA 11.4
        return None
    handle, graph, executable = ctypes.c_void_p(stream.handle), ctypes.c_void_p(), ctypes.c_void_p()
    if library.cudaStreamBeginCapture(handle, THREAD_LOCAL_CAPTURE) != 0:
        _forget_error()
        return None
    complete = False
    try:
        work()
        complete = True
    except EdgedetError:  # what was captured before a refusal is half of the work: it must not run
        pass
    finally:
        status = library.cudaStreamEndCapture(handle, ctypes.byref(graph))
    if graph.value is not None:
        if complete:
            status = library.cudaGraphInstantiateWithFlags(ctypes.byref(executable), graph, ctypes.c_ulonglong(0))
        library.cudaGraphDestroy(graph)
    if status != 0 or executable.value is None:
        _forget_error()
        return None
    return Graph(executable.value)


def _copy(target: int, source: int, size: int, kind: int, stream: Stream) -> None:
    pointers = ctypes.c_void_p(target), ctypes.c_void_p(source)
    _call("cudaMemcpyAsync", *pointers, ctypes.c_size_t(size), ctypes.c_int(kind), ctypes.c_void_p(stream.handle))


def _memory_bytes() -> tuple[int, int]:
    """What is free, and all."""
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    _call("cudaMemGetInfo", ctypes.byref(free), ctypes.byref(total))
    return free.value, total.value


def _attribute(code: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    _call("cudaDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(code), device)
    return value.value


def _call(name: str, *arguments: Any) -> None:
    library = _wrapper().handle
    status = getattr(library, name)(*arguments)
    if status != 0:
        library.cudaGetErrorString.restype = ctypes.c_char_p
        reason = library.cudaGetErrorString(status).decode(errors="replace")
        _forget_error()
        raise EdgedetError(f"CUDA: {reason} ({name}, error {status})", fix=SEE_DOCTOR)


def _ignore(name: str, handle: int) -> None:
    """Frees something; that the process may be ending is no reason to fail."""
    getattr(_wrapper().handle, name)(ctypes.c_void_p(handle))


def _forget_error() -> None:
    """Else CUDA would report it again for the next call."""
    _wrapper().handle.cudaGetLastError()
