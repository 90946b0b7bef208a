"""Runs a detector on PyTorch: for evaluation while training, and for checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgedet.errors import EdgedetError, unknown_value
from edgedet.models.checkpoint import load_checkpoint
from edgedet.models.detector import DecodedDetector
from edgedet.runtime.backend import TensorInfo
from edgedet.spec import Spec

FLOAT32 = np.dtype(np.float32)
DEVICES = ("cpu", "cuda", "mps", "xpu")


class TorchBackend:
    """A decoded detector (`edgedet.runtime.backend.Backend`).

    Args:
        decoded: images `[B, 3, H, W]` in, `(boxes [B, N, 4], scores [B, N, C])` out; it is moved to the device and
            set to evaluation mode.
        device: where it runs.
    """

    inputs: tuple[TensorInfo, ...] = (TensorInfo("images", (None, 3, None, None), FLOAT32),)
    outputs: tuple[TensorInfo, ...] = (
        TensorInfo("boxes", (None, None, 4), FLOAT32),
        TensorInfo("scores", (None, None, None), FLOAT32),
    )

    def __init__(self, decoded: torch.nn.Module, device: torch.device | str = "cpu") -> None:
        self.name = f"torch {torch.__version__} ({device})"
        self.settings: Mapping[str, Any] = {"threads": torch.get_num_threads()}
        self._device = torch.device(device)
        self._decoded = decoded.to(self._device).eval()

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs by name, for the inputs by name."""
        with torch.inference_mode():
            boxes, scores = self._decoded(torch.from_numpy(feeds["images"]).to(self._device))
        return {"boxes": boxes.float().cpu().numpy(), "scores": scores.float().cpu().numpy()}

    def bind(self, feeds: Mapping[str, NDArray[Any]]) -> Callable[[], object]:
        """A call of `run` on these inputs."""
        return lambda: self.run(feeds)


def load(path: Path, *, threads: int | None = None, device: str | None = None) -> tuple[TorchBackend, Spec]:
    """The backend and the specification in a checkpoint.

    Args:
        path: a `.pt` file that edgedet saved.
        threads: threads for inference, set for the whole process; None leaves PyTorch's setting.
        device: `cpu` (None is the same), `cuda`, `cuda:1`, ...

    Raises:
        EdgedetError: the file is missing, broken, not one of edgedet's, or the device is not there.
    """
    checkpoint = load_checkpoint(path)
    if threads is not None:
        torch.set_num_threads(threads)
    kind = (device or "cpu").partition(":")[0]
    if kind not in DEVICES:
        raise unknown_value("device", kind, DEVICES)
    size = checkpoint.spec.preprocess
    decoded = DecodedDetector(checkpoint.detector, size.height, size.width)
    try:
        backend = TorchBackend(decoded, device or "cpu")
    except (RuntimeError, AssertionError) as error:
        raise EdgedetError(
            f"cannot use the device {device!r} ({str(error).splitlines()[0]})", fix="use --device cpu"
        ) from error
    return backend, checkpoint.spec
