"""Installed packages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from edgedet.doctor.check import BROKEN, MISSING, OK, Check

PACKAGES: Mapping[str, tuple[str, str]] = {
    "numpy": ("numpy", "everything"),
    "opencv-python-headless": ("cv2", "images and videos"),
    "onnxruntime": ("onnxruntime", "running .onnx files; pip install 'edgedet[ort]'"),
    "faster-coco-eval": ("faster_coco_eval", "eval; pip install 'edgedet[eval]'"),
    "torch": ("torch", "train, quantize and export; pip install 'edgedet[train]'"),
    "onnx": ("onnx", "export, compare and lint; pip install 'edgedet[train]'"),
    "polygraphy": ("polygraphy", "engines; pip install 'edgedet[trt]'"),
}
"""What is imported, and what it is for, by the name under which it is installed."""


def check_packages() -> Iterator[Check]:
    """Whether each package is there and can be imported."""
    yield from (_package(name, *used) for name, used in PACKAGES.items())


def check_providers() -> Iterator[Check]:
    """What ONNX Runtime was built to run on, where it is installed."""
    try:
        providers = import_module("onnxruntime").get_available_providers()
    except Exception:  # `check_packages` says why
        return
    yield Check("ONNX Runtime", OK, f"built with {', '.join(providers)}")


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
