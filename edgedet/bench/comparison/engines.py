"""Several engines of one model: TensorRT times its kernels anew in each build, and its choice comes out differently."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgedet.bench.layers.profile import ONNX
from edgedet.errors import EdgedetError

if TYPE_CHECKING:
    from edgedet.engine.progress import BuildWatcher


def build_engines(
    model: Path,
    count: int,
    folder: Path,
    *,
    operators: Path | None = None,
    data: Path | None = None,
    watcher: BuildWatcher | None = None,
) -> list[Path]:
    """Builds as many engines of a model, none of which reads what another build measured.

    Args:
        model: an ONNX file.
        count: how many.
        folder: where they are written.
        operators, data, watcher: as of `edgedet.engine.build.build_engine`.

    Raises:
        EdgedetError: the model is no ONNX file, or cannot be built.
        ModuleNotFoundError: TensorRT's Python module is not installed.
    """
    from edgedet.engine.build import SUFFIX, build_engine

    if model.suffix.lower() != ONNX:
        fix = "give .onnx files, or engines that were built before by --build and --head-build"
        raise EdgedetError("engines are built of ONNX files", where=model, fix=fix)
    # A shared timing cache would hand the first build's choices on to the others.
    return [
        build_engine(
            model,
            folder / f"{model.stem}-{number}{SUFFIX}",
            operators=operators,
            data=data,
            keep_timing_cache=False,
            watcher=watcher,
        ).path
        for number in range(1, count + 1)
    ]
