"""What TensorRT says of an engine's layers, and how long each takes."""

from __future__ import annotations

from pathlib import Path

from edgedet.graph.verify import verification_images
from edgedet.runtime.backends.tensorrt import load
from edgedet.runtime.detector import Detector


def engine_information(
    path: Path,
    *,
    operators: Path | None = None,
    force: bool = False,
    allow_code: bool = False,
    profile_runs: int = 0,
) -> tuple[str, dict[str, float] | None]:
    """The JSON of TensorRT's engine inspector, and the median milliseconds by layer.

    Args:
        path: the engine; `operators`, `force` and `allow_code` as of `edgedet.runtime.backends.tensorrt.load`.
        profile_runs: how often the engine is run for the times, on a generated image; 0 measures none.

    Raises:
        EdgedetError: the engine is not for this machine, or cannot be loaded or run.
        ModuleNotFoundError: TensorRT's Python module is not installed.
    """
    backend, spec = load(path, operators=operators, force=force, allow_code=allow_code)
    text = backend.information()
    if profile_runs == 0:
        return text, None
    detector = Detector(backend, spec)
    image = verification_images(None).images[0]
    tensor, _ = detector.preprocess([image] * (backend.inputs[0].shape[0] or 1))
    return text, backend.layer_times({backend.inputs[0].name: tensor}, runs=profile_runs)
