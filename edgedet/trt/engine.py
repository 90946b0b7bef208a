"""A plan, opened: TensorRT's engine with all that must live as long."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from edgedet.errors import EdgedetError
from edgedet.interrupt import deferred_interrupt
from edgedet.trt import versions

logger = logging.getLogger(__name__)

KEPT_ERRORS = 20


@dataclass(frozen=True)
class Engine:
    """An engine that can be run.

    Attributes:
        trt: the Python module `tensorrt`.
        engine: its `ICudaEngine`.
        context: its one `IExecutionContext`.
        tensors: inputs and outputs.
        errors: what TensorRT complained of so far, the last ones.
        kept: what must not be freed before the engine.
    """

    trt: Any
    engine: Any
    context: Any
    tensors: tuple[versions.IOTensor, ...]
    errors: list[str]
    kept: tuple[Any, ...] = field(repr=False)


def open_engine(
    plan: bytes, *, where: Path, operators: Path | None = None, allow_code: bool = False, dla_core: int | None = None
) -> Engine:
    """Deserializes a plan. What it depends on must have been checked before.

    Args:
        plan: the bytes.
        where: the file, for messages.
        operators: library of plugins to open before: code that is run.
        allow_code: run code that a version-compatible plan carries.
        dla_core: the core of the deep learning accelerator it was built for.

    Raises:
        EdgedetError: TensorRT does not take it.
    """
    trt = versions.module()
    log = process_log(trt)
    log.errors.clear()
    with deferred_interrupt() as request:  # one that is raised inside the log would be lost
        trt.init_libnvinfer_plugins(log, "")
        if operators is not None:
            versions.load_operators(trt, operators)
        runtime = trt.Runtime(log)
        if allow_code:
            runtime.engine_host_code_allowed = True
        if dla_core is not None:
            runtime.DLA_core = dla_core
        engine = runtime.deserialize_cuda_engine(plan)
        context = None if engine is None else engine.create_execution_context()
    if request.wanted:
        raise KeyboardInterrupt
    if context is None:
        raise EdgedetError(
            f"TensorRT {trt.__version__} cannot load the plan{_because(log.errors)}",
            where=where,
            fix="build it again on this machine",
        )
    tensors = versions.io_tensors(trt, engine)
    return Engine(trt, engine, context, tensors, log.errors, kept=(runtime,))


@lru_cache(maxsize=1)
def process_log(trt: Any) -> Any:
    """A `tensorrt.ILogger` that keeps errors in `errors` and passes all on to Python's logging.

    One for the process: TensorRT's plugins keep the first that they are given (`initLibNvInferPlugins`).
    """
    levels = {
        trt.ILogger.Severity.INTERNAL_ERROR: logging.INFO,
        trt.ILogger.Severity.ERROR: logging.INFO,
        trt.ILogger.Severity.WARNING: logging.INFO,
    }

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # without it the first message ends the process
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self.errors.append(message)
                del self.errors[:-KEPT_ERRORS]
            logger.log(levels.get(severity, logging.DEBUG), "%s", message)

    return Log()


def new_profiler(trt: Any, times: dict[str, list[float]]) -> Any:
    """A `tensorrt.IProfiler` that adds each layer's milliseconds of each run to `times`."""

    class Profiler(trt.IProfiler):
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            times.setdefault(layer_name, []).append(ms)

    return Profiler()


def _because(errors: list[str]) -> str:
    return f" ({errors[-1][:300]})" if errors else ""
