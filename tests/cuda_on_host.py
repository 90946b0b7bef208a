"""The CUDA kernels, run on the host: arrays of NumPy in the place of the device's memory."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from pathlib import Path

import numpy as np

from edgedet.ops.cuda import WORKSPACE_ALIGNMENT, CudaKernels, NMSProblem
from edgedet.ops.diou_nms import DIoUNMS
from edgedet.ops.gated_conv.cuda import CudaGatedConv, GatedLayer

LIBRARY = Path(__file__).resolve().parents[1] / "build" / "native" / "libedgedet_cuda_on_host.so"
"""Where `make operators` builds it."""

POISON = 0xA5
"""What every byte that a kernel may write holds before."""

GUARD_BYTES = 4096


@lru_cache
def kernels() -> CudaKernels:
    return CudaKernels(LIBRARY)


def diou_nms(boxes: np.ndarray, scores: np.ndarray, attributes: DIoUNMS) -> list[np.ndarray]:
    """`[B, N, 4]` and `[B, N, C]`, each float32 or float16, to the operator's four outputs.

    Nothing may be written behind the workspace, and all of the outputs must be.
    """
    images, rows = len(boxes), attributes.max_detections
    problem = NMSProblem(
        *scores.shape, attributes, half_boxes=boxes.dtype == np.float16, half_scores=scores.dtype == np.float16
    )
    size = kernels().workspace_bytes(problem)
    workspace = poisoned((size + WORKSPACE_ALIGNMENT + GUARD_BYTES,), np.uint8)
    start = -workspace.ctypes.data % WORKSPACE_ALIGNMENT
    num_dets, det_classes = poisoned((images, 1), np.int32), poisoned((images, rows), np.int32)
    det_boxes, det_scores = poisoned((images, rows, 4), boxes.dtype), poisoned((images, rows), scores.dtype)
    outputs = (num_dets, det_boxes, det_scores, det_classes)
    addresses = tuple(array.ctypes.data for array in (boxes, scores, *outputs))
    kernels().diou_nms(problem, addresses[0], addresses[1], (*addresses[2:6],), workspace.ctypes.data + start, stream=0)
    assert (workspace[:start] == POISON).all()
    assert (workspace[start + size :] == POISON).all()
    return list(outputs)


def poisoned(shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    return (
        np.frombuffer(np.full(int(np.prod(shape)) * np.dtype(dtype).itemsize, POISON, np.uint8), dtype)
        .reshape(shape)
        .copy()
    )


@lru_cache
def gated_kernels() -> CudaGatedConv:
    return CudaGatedConv(LIBRARY)


def gated_conv(layer: GatedLayer, x: np.ndarray) -> np.ndarray:
    """`[B, C, H, W]`, float32 or float16, to the operator's output.

    Nothing may be written behind the workspace and the result, and all of the result must be.
    """
    packed = gated_kernels().pack(layer, x.shape, half=x.dtype == np.float16)
    workspace = poisoned((packed.workspace_bytes + GUARD_BYTES,), np.uint8)
    shape = layer.result_shape(x.shape)
    count = int(np.prod(shape))
    y = poisoned((count + GUARD_BYTES,), x.dtype)
    given = np.ascontiguousarray(x)
    addresses = (packed.values.ctypes.data, given.ctypes.data, y.ctypes.data, workspace.ctypes.data)
    gated_kernels().run(packed, *addresses, stream=0)
    assert (workspace[packed.workspace_bytes :] == POISON).all()
    assert (y[count:].view(np.uint8) == POISON).all()
    return y[:count].reshape(shape)


def products() -> int:
    """How many products of a warp all runs so far have taken."""
    count = ctypes.CDLL(str(LIBRARY)).edgedet_cuda_on_host_products
    count.restype = ctypes.c_uint64
    return int(count())
