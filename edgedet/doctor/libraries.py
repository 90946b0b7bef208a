"""Kernels and operators: tried, and held to their references."""

from __future__ import annotations

import ctypes
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.doctor.check import BROKEN, OK, REPORT_IT, Check
from edgedet.doctor.scene import scene
from edgedet.errors import EdgedetError
from edgedet.ops.cuda import CudaKernels
from edgedet.ops.diou_nms import reference
from edgedet.ops.library import require_for_this_machine

OPERATORS, PLUGINS, KERNELS = "RegisterCustomOps", "edgedet_tensorrt_plugins", "edgedet_cuda_diou_nms"
"""What a library exports, by which it is known: for ONNX Runtime, for TensorRT, or the CUDA kernels alone."""


def check_cpu_kernels() -> Check:
    """Whether the kernels that come with the package find what the reference finds."""
    try:
        from edgedet.ops.diou_nms import native
    except EdgedetError as error:
        return Check("CPU kernels", BROKEN, error.what, fix=error.fix)
    boxes, scores, attributes = scene()
    found, expected = (module.diou_nms(boxes, scores, attributes) for module in (native, reference))
    if not all(map(np.array_equal, found, expected)):
        return Check("CPU kernels", BROKEN, "DIoU-NMS is not the reference's", fix=REPORT_IT)
    return Check("CPU kernels", OK, f"DIoU-NMS keeps what the reference keeps, {len(expected[0])} boxes")


def check_library(path: Path) -> Check:
    """Opens a library, which runs code in it, and tries what it offers."""
    name = str(path)
    try:
        require_for_this_machine(path)
        library = ctypes.CDLL(str(path.resolve()))
    except EdgedetError as error:
        return Check(name, BROKEN, error.what, fix=error.fix)
    except OSError as error:
        return Check(name, BROKEN, f"cannot be opened: {error}", fix="install what it needs, or build it again")
    if hasattr(library, OPERATORS):
        return _operators(name, path)
    if hasattr(library, PLUGINS):
        library.edgedet_tensorrt_plugins.restype = ctypes.c_char_p
        return _cuda_kernels(name, path, f"plugins {library.edgedet_tensorrt_plugins().decode()}")
    if hasattr(library, KERNELS):
        return _cuda_kernels(name, path, "CUDA kernels")
    return Check(name, BROKEN, f"not one of edgedet's: it exports none of {OPERATORS}, {PLUGINS}, {KERNELS}")


def _cuda_kernels(name: str, path: Path, what: str) -> Check:
    boxes, scores, attributes = scene()
    try:
        num_dets, *rows = CudaKernels(path).diou_nms_of_host(boxes[None], scores[None], attributes)
    except EdgedetError as error:
        return Check(name, OK, f"opens; {what}; not run: {error.what}", fix=error.fix)
    expected: list[NDArray[Any]] = [*reference.diou_nms(boxes, scores, attributes)]
    count = int(num_dets[0, 0])
    if not all(np.array_equal(found[0, :count], wanted) for found, wanted in zip(rows, expected, strict=True)):
        return Check(name, BROKEN, f"{what}: DIoU-NMS is not the reference's", fix=REPORT_IT)
    return Check(name, OK, f"{what}: DIoU-NMS on the GPU keeps what the reference keeps, {count} boxes")


def _operators(name: str, path: Path) -> Check:
    if find_spec("onnxruntime") is None or find_spec("onnx") is None:
        return Check(name, OK, "opens; operators for ONNX Runtime; not run: that needs onnxruntime and onnx")
    from edgedet.graph.operators import operators_graph
    from edgedet.runtime.backends.onnxruntime import open_session

    boxes, scores, attributes = scene()
    with_bodies = operators_graph(attributes)
    without_bodies = type(with_bodies).FromString(with_bodies.SerializeToString())
    del without_bodies.functions[:]  # nothing but the library can compute them then
    outputs = []
    try:
        for graph, operators in ((without_bodies, path), (with_bodies, None)):
            session = open_session(graph.SerializeToString(), path, threads=1, operators=operators)
            outputs.append(session.run(None, {"boxes": boxes[None], "scores": scores[None]}))
    except EdgedetError as error:
        return Check(name, BROKEN, error.what, fix=error.fix)
    (*detections, mish), (*expected_detections, expected_mish) = outputs
    if not all(map(np.array_equal, detections, expected_detections)):
        return Check(name, BROKEN, "its DIoU-NMS is not that of the function body", fix="build it again")
    if not np.allclose(mish, expected_mish, rtol=1e-5):
        return Check(name, BROKEN, "its Mish is not that of the function body", fix="build it again")
    return Check(name, OK, "operators for ONNX Runtime: EdgeDetDIoUNMS and EdgeDetMish give what their bodies give")
