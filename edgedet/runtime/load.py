"""From a model file to a detector."""

from __future__ import annotations

from pathlib import Path

from edgedet.errors import EdgedetError, unknown_value
from edgedet.runtime.detector import Detector


def load_detector(
    path: Path,
    *,
    threads: int | None = None,
    device: str | None = None,
    operators: Path | None = None,
    force: bool = False,
    allow_code: bool = False,
) -> Detector:
    """The detector in a `.onnx` file (ONNX Runtime), a `.engine` file (TensorRT) or a `.pt` checkpoint (PyTorch).

    Args:
        path: the model file.
        threads: threads for inference; None lets the backend choose; an engine has none.
        device: `cpu`, `cuda`, ...; None is the CPU; an engine runs on the GPU that it was built for.
        operators: library of edgedet's operators for ONNX Runtime or TensorRT; checkpoints need none.
        force: load an engine though it was built for another machine, or was changed.
        allow_code: run the code that a version-compatible engine carries.

    Raises:
        EdgedetError: the file is missing, broken, or was not made by edgedet.
        ModuleNotFoundError: the backend's package is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise EdgedetError("no such model file", where=path, fix="check the path")
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        from edgedet.runtime.backends import onnxruntime

        return Detector(*onnxruntime.load(path, threads=threads, device=device, operators=operators))
    if suffix == ".pt":
        from edgedet.runtime.backends import torch

        return Detector(*torch.load(path, threads=threads, device=device))
    if suffix == ".engine":
        from edgedet.runtime.backends import tensorrt

        return Detector(*tensorrt.load(path, operators=operators, force=force, allow_code=allow_code))
    raise unknown_value("kind of model file", suffix, [".onnx", ".pt", ".engine"], where=path)
