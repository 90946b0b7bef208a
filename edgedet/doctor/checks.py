"""The checks. Each looks at one thing and says how it is."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.errors import EdgedetError
from edgedet.ops.cuda import CudaKernels
from edgedet.ops.diou_nms import reference
from edgedet.ops.diou_nms.definition import DIoUNMS
from edgedet.ops.library import require_for_this_machine

OK, MISSING, BROKEN = "ok", "missing", "broken"

PACKAGES: Mapping[str, tuple[str, str]] = {
    "numpy": ("numpy", "everything"),
    "opencv-python-headless": ("cv2", "images and videos"),
    "onnxruntime": ("onnxruntime", "running .onnx files; pip install 'edgedet[ort]'"),
    "faster-coco-eval": ("faster_coco_eval", "eval; pip install 'edgedet[eval]'"),
    "torch": ("torch", "train, quantize and export; pip install 'edgedet[train]'"),
    "onnx": ("onnx", "export, compare and lint; pip install 'edgedet[train]'"),
}
"""What is imported, and what it is for, by the name under which it is installed."""

CPU_FEATURES: Mapping[str, str] = {
    "avx2": "vectors of 8",
    "avx512f": "vectors of 16",
    "avx512_vnni": "fast INT8",
    "avx_vnni": "fast INT8",
    "asimd": "vectors of 4",
    "asimddp": "fast INT8",
    "i8mm": "faster INT8",
}
"""Flags of /proc/cpuinfo that decide how fast detectors run."""

OPERATORS, PLUGINS, KERNELS = "RegisterCustomOps", "edgedet_tensorrt_plugins", "edgedet_cuda_diou_nms"
"""What a library exports, by which it is known: for ONNX Runtime, for TensorRT, or the CUDA kernels alone."""


@dataclass(frozen=True)
class Check:
    """How one thing is.

    Attributes:
        name: the thing.
        state: `ok`, `missing` (not installed, which may be as it should) or `broken`.
        detail: what was found.
        fix: what to do about it; None where there is nothing to do.
    """

    name: str
    state: str
    detail: str
    fix: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def check_all(plugins: Sequence[Path] = ()) -> Iterator[Check]:
    """Every check of this device, then those of the libraries given."""
    yield _device()
    yield from (_package(name, *used) for name, used in PACKAGES.items())
    yield _cpu_kernels()
    for path in plugins:
        yield _plugin(path)


def _device() -> Check:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}
    flags = fields.get("flags", fields.get("Features", "")).split()
    features = ", ".join(f"{flag} ({meaning})" for flag, meaning in CPU_FEATURES.items() if flag in flags)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    model = fields.get("model name", platform.processor() or "CPU")
    detail = f"{model}, {platform.machine()}, {cores} cores; Python {platform.python_version()}"
    return Check("device", OK, f"{detail}; {features or 'no known vector instructions'}")


def _package(name: str, module: str, purpose: str) -> Check:
    if find_spec(module) is None:
        return Check(name, MISSING, f"for {purpose}")
    try:
        import_module(module)
    except Exception as error:  # whatever a broken installation raises
        return Check(name, BROKEN, f"cannot be imported: {error}", fix=f"pip install --force-reinstall {name}")
    try:
        found = version(name)
    except PackageNotFoundError:
        found = str(getattr(import_module(module), "__version__", "of unknown version"))
    return Check(name, OK, found)


def _cpu_kernels() -> Check:
    try:
        from edgedet.ops.diou_nms import native
    except EdgedetError as error:
        return Check("CPU kernels", BROKEN, error.what, fix=error.fix)
    boxes, scores, attributes = _scene()
    found, expected = (module.diou_nms(boxes, scores, attributes) for module in (native, reference))
    if not all(map(np.array_equal, found, expected)):
        fix = "report it with the output of edgedet doctor --json"
        return Check("CPU kernels", BROKEN, "DIoU-NMS is not the reference's", fix=fix)
    return Check("CPU kernels", OK, f"DIoU-NMS keeps what the reference keeps, {len(expected[0])} boxes")


def _plugin(path: Path) -> Check:
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
    boxes, scores, attributes = _scene()
    try:
        num_dets, *rows = CudaKernels(path).diou_nms_of_host(boxes[None], scores[None], attributes)
    except EdgedetError as error:
        return Check(name, OK, f"opens; {what}; not run: {error.what}", fix=error.fix)
    expected: list[NDArray[Any]] = [*reference.diou_nms(boxes, scores, attributes)]
    count = int(num_dets[0, 0])
    if not all(np.array_equal(found[0, :count], wanted) for found, wanted in zip(rows, expected, strict=True)):
        fix = "report it with the output of edgedet doctor --json"
        return Check(name, BROKEN, f"{what}: DIoU-NMS is not the reference's", fix=fix)
    return Check(name, OK, f"{what}: DIoU-NMS on the GPU keeps what the reference keeps, {count} boxes")


def _operators(name: str, path: Path) -> Check:
    if find_spec("onnxruntime") is None or find_spec("onnx") is None:
        return Check(name, OK, "opens; operators for ONNX Runtime; not run: that needs onnxruntime and onnx")
    from edgedet.graph.operators import operators_graph
    from edgedet.runtime.backends.onnxruntime import open_session

    boxes, scores, attributes = _scene()
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


def _scene() -> tuple[NDArray[np.float32], NDArray[np.float32], DIoUNMS]:
    """Boxes and scores to try DIoU-NMS on."""
    rng = np.random.default_rng(0)
    corners = rng.random((300, 2), np.float32) * 200
    boxes = np.concatenate([corners, corners + rng.random((300, 2), np.float32) * 60 + 5], axis=1)
    return boxes, rng.random((300, 3), np.float32), DIoUNMS(score_threshold=0.3, iou_threshold=0.2)
