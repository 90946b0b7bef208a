"""The gated convolution by CUDA (`make cuda`), called with the addresses of arrays on the device."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.errors import EdgedetError
from edgedet.ops.cuda import kernels_in
from edgedet.ops.gated_conv.definition import GatedConv

ALIGNMENT = 16
"""Of the packed weights, in bytes."""

_GRANULARITIES = ("element", "pixel", "tile")
_CONVOLUTION = ("step", "lowest", "highest", "granularity", "tile", "stride_y", "stride_x")
_PADDING = ("top", "left", "bottom", "right")
_WEIGHTS = ("groups", "outputs", "inputs", "kernel_height", "kernel_width")
_IMAGES = ("images", "height", "width", "half")


class _Sizes(ctypes.Structure):
    """`Sizes` of plugins/cuda/gated_conv_library.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in (*_CONVOLUTION, *_PADDING, *_WEIGHTS, *_IMAGES)),
        ("x_scale", ctypes.c_float),
        ("always_open", ctypes.c_int32),
    )


class _Weights(ctypes.Structure):
    """`Weights` of the same."""

    _fields_ = tuple((name, ctypes.c_void_p) for name in ("codes", "scale", "threshold", "sign", "bias"))


@dataclass(frozen=True)
class GatedLayer:
    """A gated convolution with its weights, on the host: the inputs and attributes of `body.function_body`.

    Attributes:
        gate: how codes are split and gates decided.
        weights: `[O, C / groups, kh, kw]` int8.
        x_scale: step of the codes, above 0.
        weight_scale, thresholds, signs, bias: `[O]` float32.
        strides: down, across.
        pads: top, left, bottom, right.
        groups: of the convolution.
    """

    gate: GatedConv
    weights: NDArray[np.int8]
    x_scale: float
    weight_scale: NDArray[np.float32]
    thresholds: NDArray[np.float32]
    signs: NDArray[np.float32]
    bias: NDArray[np.float32]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1

    def result_shape(self, x_shape: Sequence[int]) -> tuple[int, int, int, int]:
        """`[B, O, H', W']` for images `[B, C, H, W]`."""
        sides = [
            (x_shape[axis + 2] + self.pads[axis] + self.pads[axis + 2] - self.weights.shape[axis + 2])
            // self.strides[axis]
            + 1
            for axis in (0, 1)
        ]
        return x_shape[0], len(self.weights), sides[0], sides[1]


class Packed:
    """A layer packed for images of one shape.

    Attributes:
        values: the weights as the kernels take them, on the host: to be copied to the device, aligned to `ALIGNMENT`.
        always_open: whether its gates can never be closed: then nothing is decided.
        workspace_bytes: of the workspace that a run takes, on the device.
    """

    def __init__(self, sizes: _Sizes, values: NDArray[np.uint8], workspace_bytes: int) -> None:
        self._sizes, self.values, self.workspace_bytes = sizes, values, workspace_bytes
        self.always_open = bool(sizes.always_open)


class CudaGatedConv:
    """The functions of one library. Streams and arrays are addresses of the device, about which nothing is checked.

    Args:
        path: `libedgedet_cuda.so`: code that is run.

    Raises:
        EdgedetError: no library of these kernels, or one for another machine.
    """

    def __init__(self, path: Path) -> None:
        with kernels_in(path) as library:
            self._fault = library.edgedet_cuda_gated_conv_fault
            self._packed = library.edgedet_cuda_gated_conv_packed
            self._pack = library.edgedet_cuda_gated_conv_pack
            self._workspace = library.edgedet_cuda_gated_conv_workspace
            self._run = library.edgedet_cuda_gated_conv
            self._run_of_host = library.edgedet_cuda_gated_conv_of_host
            self._error = library.edgedet_cuda_error
        self._fault.restype = self._error.restype = ctypes.c_char_p
        self._packed.restype = self._workspace.restype = ctypes.c_size_t

    def pack(self, layer: GatedLayer, x_shape: Sequence[int], *, half: bool = False) -> Packed:
        """The layer for images `[B, C, H, W]`, float16 where `half`, else float32.

        Raises:
            EdgedetError: shapes that do not fit together, or that the kernels are not made for.
        """
        arrays = _arrays(layer)
        sizes = _sizes(layer, x_shape, half)
        weights = _Weights(*(array.ctypes.data for array in arrays))
        fault = self._fault(ctypes.byref(sizes), ctypes.byref(weights))
        if fault is not None:
            raise EdgedetError(f"the gated convolution by CUDA takes {fault.decode()}")
        values = _aligned(self._packed(ctypes.byref(sizes)))
        sizes.always_open = self._pack(ctypes.byref(sizes), ctypes.byref(weights), ctypes.c_void_p(values.ctypes.data))
        return Packed(sizes, values, int(self._workspace(ctypes.byref(sizes))))

    def run(self, packed: Packed, values: int, x: int, y: int, workspace: int, stream: int) -> None:
        """Puts a run on a stream and returns.

        Args:
            packed: of the layer, for the shape of `x`.
            values: `packed.values` on the device.
            x: `[B, C, H, W]`.
            y: `[B, O, H', W']`, of the same type.
            workspace: of `packed.workspace_bytes`; needs no initial value.
            stream: a `cudaStream_t`, 0 for the default one.

        Raises:
            EdgedetError: CUDA did not start the kernels.
        """
        pointers = map(ctypes.c_void_p, (values, x, y, workspace, stream))
        self._require_started(self._run(ctypes.byref(packed._sizes), *pointers))

    def run_of_host(self, layer: GatedLayer, x: NDArray[Any]) -> NDArray[Any]:
        """The result `[B, O, H', W']` of float32 or float16 `[B, C, H, W]`, both on the host: for checks.

        Raises:
            EdgedetError: as `pack`, or CUDA did not run the kernels.
        """
        given = np.ascontiguousarray(x)
        packed = self.pack(layer, given.shape, half=given.dtype == np.float16)
        y = np.empty(layer.result_shape(given.shape), given.dtype)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (packed.values, given, y)]
        self._require_started(self._run_of_host(ctypes.byref(packed._sizes), *pointers))
        return y

    def _require_started(self, status: int) -> None:
        if status != 0:
            reason = self._error(status).decode()
            raise EdgedetError(f"CUDA did not start a kernel: {reason}", fix="see what nvidia-smi says of the GPU")


def _arrays(layer: GatedLayer) -> list[NDArray[Any]]:
    """The weights and what goes with each output, as C has them."""
    if layer.weights.ndim != 4:
        raise EdgedetError("the gated convolution by CUDA takes weights [O, C / group, kh, kw]")
    per_output = (layer.weight_scale, layer.thresholds, layer.signs, layer.bias)
    if any(np.size(values) != len(layer.weights) for values in per_output):
        raise EdgedetError(
            f"the gated convolution by CUDA takes {len(layer.weights)} scales, thresholds, signs, biases"
        )
    floats = [np.ascontiguousarray(values, np.float32).reshape(-1) for values in per_output]
    return [np.ascontiguousarray(layer.weights, np.int8), *floats]


def _sizes(layer: GatedLayer, x_shape: Sequence[int], half: bool) -> _Sizes:
    gate = layer.gate
    outputs, inputs, kernel_height, kernel_width = layer.weights.shape
    images, channels, height, width = x_shape
    if channels != inputs * layer.groups:
        raise EdgedetError(f"the gated convolution by CUDA takes x [B, {inputs * layer.groups}, H, W]")
    return _Sizes(
        gate.step,
        gate.lowest,
        gate.highest,
        _GRANULARITIES.index(gate.granularity),
        gate.tile,
        *layer.strides,
        *layer.pads,
        layer.groups,
        outputs,
        inputs,
        kernel_height,
        kernel_width,
        images,
        height,
        width,
        half,
        layer.x_scale,
        0,
    )


def _aligned(size: int) -> NDArray[np.uint8]:
    """Bytes that start where the kernels' weights may, on the host too."""
    room = np.zeros(size + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    return room[start : start + size]
