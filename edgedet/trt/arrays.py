"""Arrays on the device, of anyone's making, by the CUDA Array Interface.

Source: Numba's documentation, "CUDA Array Interface (Version 3)"; PyTorch, CuPy, PyCUDA and Numba give it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from edgedet.errors import EdgedetError
from edgedet.trt import cuda

INTERFACE = "__cuda_array_interface__"
ALIGNMENT = 256
"""Of addresses that TensorRT takes (`IExecutionContext::setTensorAddress`)."""


class HasName(Protocol):
    """What names an array in messages."""

    @property
    def name(self) -> str: ...


@dataclass(frozen=True)
class DeviceArray:
    """A contiguous array on the device, which others can wrap: `torch.as_tensor(array)`, `cupy.asarray(array)`.

    Attributes:
        address: of its first element.
        shape: sizes.
        dtype: of its elements.
        stream: on which it is written, by the interface's numbers; None where nothing is to be waited for.
        owner: what its memory belongs to.
    """

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    stream: int | None = None
    owner: object = None

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, False),
            "strides": None,
            "stream": self.stream,
            "version": 3,
        }

    def wait_for_producer(self, stream: int | None) -> None:
        """Waits on the host for the stream that the array is written on, unless it is the one that reads it.

        Raises:
            EdgedetError: CUDA failed.
        """
        if self.stream is not None and self.stream != stream:
            cuda.synchronize(self.stream)


def as_device_array(array: object, tensor: HasName) -> DeviceArray:
    """The memory of an array that has `__cuda_array_interface__`.

    Raises:
        EdgedetError: it has none, or is not contiguous or not aligned.
    """
    interface = getattr(array, INTERFACE, None)
    if not isinstance(interface, dict):
        raise EdgedetError(
            f"{type(array).__name__} for {tensor.name} is no array on the device: it has no {INTERFACE}",
            fix="give an array of PyTorch on cuda, of CuPy or of PyCUDA, or run() for NumPy's",
        )
    shape, dtype = tuple(interface["shape"]), np.dtype(interface["typestr"])
    strides, address = interface.get("strides"), interface["data"][0]
    if strides is not None and tuple(strides) != _strides(shape, dtype.itemsize):
        raise EdgedetError(
            f"the array for {tensor.name} is not contiguous", fix="make it so: array.contiguous() or copy()"
        )
    if address % ALIGNMENT:
        raise EdgedetError(
            f"the array for {tensor.name} does not start at a multiple of {ALIGNMENT} bytes", fix="give a copy of it"
        )
    return DeviceArray(address, shape, dtype, interface.get("stream"), array)


def _strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    return tuple(math.prod(shape[place + 1 :]) * itemsize for place in range(len(shape)))
