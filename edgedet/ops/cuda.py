"""The CUDA kernels as a library (`make cuda`), called with the addresses of arrays on the device."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgedet.errors import EdgedetError
from edgedet.ops.diou_nms.definition import DIoUNMS
from edgedet.ops.library import require_for_this_machine

WORKSPACE_ALIGNMENT = 256

MOST_CANDIDATES = 16384
"""What DIoU-NMS compares at most, in an image."""


class _Sizes(ctypes.Structure):
    """`Sizes` of plugins/cuda/library.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("images", "boxes", "classes", "pre_nms_top_k", "max_detections")),
        *((name, ctypes.c_double) for name in ("score_threshold", "iou_threshold", "beta")),
        *((name, ctypes.c_int32) for name in ("class_agnostic", "half_boxes", "half_scores")),
    )


@dataclass(frozen=True)
class NMSProblem:
    """What DIoU-NMS is given.

    Attributes:
        images, boxes, classes: sizes of `[images, boxes, 4]` boxes and `[images, boxes, classes]` scores.
        attributes: thresholds and limits.
        half_boxes, half_scores: whether they are float16; else float32.
    """

    images: int
    boxes: int
    classes: int
    attributes: DIoUNMS
    half_boxes: bool = False
    half_scores: bool = False


@contextmanager
def kernels_in(path: Path) -> Iterator[ctypes.CDLL]:
    """The library, which is opened: code in it is run. What is asked of it within, it must have.

    Raises:
        EdgedetError: no library of these kernels, or one for another machine.
    """
    require_for_this_machine(path)
    try:
        yield ctypes.CDLL(str(path.resolve()))
    except (OSError, AttributeError) as error:
        raise EdgedetError(f"no CUDA kernels of edgedet: {error}", where=path, fix="build it: make cuda") from error


class CudaKernels:
    """The functions of one library. Each puts its work on a stream and returns.

    Streams and arrays are addresses of the device; arrays are contiguous and aligned to 16 bytes. Nothing is checked
    about them: an address that is none ends the process or spoils memory.

    Args:
        path: `libedgedet_cuda.so`: code that is run.

    Raises:
        EdgedetError: no library of these kernels, or one for another machine.
    """

    def __init__(self, path: Path) -> None:
        with kernels_in(path) as library:
            self._fault = library.edgedet_cuda_diou_nms_fault
            self._workspace = library.edgedet_cuda_diou_nms_workspace
            self._error = library.edgedet_cuda_error
            self._diou_nms = library.edgedet_cuda_diou_nms
            self._diou_nms_of_host = library.edgedet_cuda_diou_nms_of_host
            self._mish = {
                "float32": library.edgedet_cuda_mish_float32,
                "float16": library.edgedet_cuda_mish_float16,
            }
            self._mish_int8 = library.edgedet_cuda_mish_int8
        self._fault.restype = self._error.restype = ctypes.c_char_p
        self._workspace.restype = ctypes.c_size_t

    def workspace_bytes(self, problem: NMSProblem) -> int:
        """The size of the workspace that `diou_nms` takes, aligned to `WORKSPACE_ALIGNMENT` bytes.

        Raises:
            EdgedetError: the kernels are not made for such sizes.
        """
        sizes = _sizes(problem)
        fault = self._fault(ctypes.byref(sizes))
        if fault is not None:
            raise EdgedetError(f"DIoU-NMS by CUDA takes {fault.decode()}")
        return int(self._workspace(ctypes.byref(sizes)))

    def diou_nms(
        self,
        problem: NMSProblem,
        boxes: int,
        scores: int,
        outputs: tuple[int, int, int, int],
        workspace: int,
        stream: int,
    ) -> None:
        """DIoU-NMS of a batch, see `edgedet.ops.diou_nms.definition`.

        Args:
            problem: the sizes.
            boxes: `[images, boxes, 4]`.
            scores: `[images, boxes, classes]`.
            outputs: `num_dets [images, 1]` int32, `det_boxes [images, K, 4]`, `det_scores [images, K]`,
                `det_classes [images, K]` int32, where K is `max_detections`.
            workspace: of `workspace_bytes`.
            stream: a `cudaStream_t`, 0 for the default one.

        Raises:
            EdgedetError: CUDA did not start the kernels.
        """
        pointers = map(ctypes.c_void_p, (boxes, scores, *outputs, workspace, stream))
        self._require_started(self._diou_nms(ctypes.byref(_sizes(problem)), *pointers))

    def diou_nms_of_host(
        self, boxes: NDArray[np.float32], scores: NDArray[np.float32], attributes: DIoUNMS
    ) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
        """DIoU-NMS of arrays on the host, which are copied to the device and back: for checks.

        Args:
            boxes: `[B, N, 4]` float32 xyxy.
            scores: `[B, N, C]` float32.
            attributes: thresholds and limits; K is `max_detections`.

        Returns:
            `num_dets [B, 1]` int32, `det_boxes [B, K, 4]`, `det_scores [B, K]`, `det_classes [B, K]` int32.

        Raises:
            EdgedetError: the kernels are not made for such sizes, or CUDA did not run them.
        """
        images, count, classes = scores.shape
        problem = NMSProblem(images, count, classes, attributes)
        self.workspace_bytes(problem)
        rows = attributes.max_detections
        outputs = (
            np.empty((images, 1), np.int32),
            np.empty((images, rows, 4), np.float32),
            np.empty((images, rows), np.float32),
            np.empty((images, rows), np.int32),
        )
        arrays = (np.ascontiguousarray(boxes, np.float32), np.ascontiguousarray(scores, np.float32), *outputs)
        pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in arrays]
        self._require_started(self._diou_nms_of_host(ctypes.byref(_sizes(problem)), *pointers))
        return outputs

    def mish(self, dtype: str, source: int, result: int, count: int, stream: int) -> None:
        """Mish of each value.

        Args:
            dtype: `float32` or `float16`.
            source, result: `count` values each.
            count: how many.
            stream: as of `diou_nms`.

        Raises:
            EdgedetError: CUDA did not start the kernel.
        """
        self._require_started(self._mish[dtype](*_values(source, result, count), ctypes.c_void_p(stream)))

    def mish_int8(
        self, source: int, result: int, count: int, *, input_scale: float, output_scale: float, stream: int
    ) -> None:
        """Mish of each value between two symmetric quantizers: `round(mish(q * input_scale) / output_scale)`, clipped.

        Args:
            source, result: `count` int8 values each.
            count: how many.
            input_scale, output_scale: steps of the quantizers, above 0.
            stream: as of `diou_nms`.

        Raises:
            EdgedetError: CUDA did not start the kernel.
        """
        scales = (ctypes.c_float(input_scale), ctypes.c_float(output_scale))
        self._require_started(self._mish_int8(*_values(source, result, count), *scales, ctypes.c_void_p(stream)))

    def _require_started(self, status: int) -> None:
        if status != 0:
            reason = self._error(status).decode()
            raise EdgedetError(f"CUDA did not start a kernel: {reason}", fix="see what nvidia-smi says of the GPU")


def _sizes(problem: NMSProblem) -> _Sizes:
    attributes = problem.attributes
    return _Sizes(
        problem.images,
        problem.boxes,
        problem.classes,
        attributes.pre_nms_top_k,
        attributes.max_detections,
        attributes.score_threshold,
        attributes.iou_threshold,
        attributes.beta,
        attributes.class_agnostic,
        problem.half_boxes,
        problem.half_scores,
    )


def _values(source: int, result: int, count: int) -> tuple[ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]:
    return ctypes.c_void_p(source), ctypes.c_void_p(result), ctypes.c_size_t(count)
