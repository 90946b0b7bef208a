"""The layers of a model of any runtime that tells their times."""

from __future__ import annotations

from pathlib import Path

from edgedet.bench.layers.table import LayerTable
from edgedet.bench.opening import ENGINE, NO_TRUST, Trust
from edgedet.bench.settings import CPU
from edgedet.errors import EdgedetError

ONNX = ".onnx"


def profile_layers(
    model: Path,
    *,
    threads: int = 1,
    device: str | None = None,
    trust: Trust = NO_TRUST,
    source: Path | None = None,
    with_peak: bool = True,
) -> LayerTable:
    """Times every layer.

    Args:
        model: `.onnx`, or an `.engine`.
        threads: threads for inference on a CPU.
        device: of an ONNX file the CPU alone.
        trust: what of the file may be run.
        source: the ONNX file that an engine was built of, for its multiply-accumulates.
        with_peak: whether the CPU's peak is measured, too.

    Raises:
        EdgedetError: the model cannot be read, or its runtime does not tell the times of layers.
    """
    if model.suffix.lower() == ONNX:
        if device not in (None, CPU):
            fix = "leave the layers out, or measure on the CPU"
            raise EdgedetError(f"ONNX Runtime's layers are timed on the CPU, not on {device}", where=model, fix=fix)
        from edgedet.bench.layers.onnxruntime import profile_onnx

        return profile_onnx(model, threads=threads, operators=trust.operators, with_peak=with_peak)
    if model.suffix.lower() == ENGINE:
        from edgedet.bench.layers.tensorrt import profile_engine

        return profile_engine(
            model, source=source, operators=trust.operators, force=trust.force, allow_code=trust.allow_code
        )
    fix = "export it, and profile the .onnx"
    raise EdgedetError("PyTorch's layers are not those that are deployed: they are not timed", where=model, fix=fix)
