"""What a person sees when a verb fails: one message and an exit code; the traceback only when asked for."""

from __future__ import annotations

import errno
import select
import sys

from edgedet.cli import output
from edgedet.errors import EdgedetError

BUG_EXIT_CODE = 70
INTERRUPTED_EXIT_CODE = 128 + 2
BROKEN_PIPE_EXIT_CODE = 128 + 13

EXTRA_OF_PACKAGE = {
    "faster_coco_eval": "eval",
    "lightning": "train",
    "lightning_fabric": "train",
    "matplotlib": "eval",
    "onnx": "train",
    "onnx_ir": "train",
    "onnxruntime": "ort",
    "onnxscript": "train",
    "optuna": "sweep",
    "polygraphy": "trt",
    "pyarrow": "ray",
    "ray": "ray",
    "tensorboard": "train",
    "torch": "train",
}


INSTALL_TENSORRT = (
    "on a Jetson use JetPack's: apt install python3-libnvinfer, in an environment with --system-site-packages; "
    "elsewhere pip install tensorrt-cu13 (or -cu12)"
)


def report(error: BaseException, *, debug: bool) -> int:
    """Prints what happened on stderr and returns the exit code."""
    if isinstance(error, BrokenPipeError) and _nobody_reads_stdout():
        return BROKEN_PIPE_EXIT_CODE
    output.stop_bars()
    if debug:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED_EXIT_CODE
    explained = explain(error)
    if explained is not None:
        print(f"error: {output.printable(str(explained))}", file=sys.stderr)
        return explained.exit_code
    advice = "report it with the traceback above" if debug else "run it again with --debug and report the traceback"
    bug = EdgedetError(f"this is a bug in edgedet: {type(error).__name__}: {error}", fix=advice)
    print(f"error: {output.printable(str(bug))}", file=sys.stderr)
    return BUG_EXIT_CODE


def explain(error: BaseException) -> EdgedetError | None:
    """The error as one that a person can act on, or None where it is a bug."""
    if isinstance(error, EdgedetError):
        return error
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return EdgedetError("out of memory", fix="use a smaller --batch or --imgsz, or free some memory")
    if isinstance(error, ModuleNotFoundError):
        if error.name == "tensorrt":
            return EdgedetError("TensorRT's Python module is not installed", fix=INSTALL_TENSORRT)
        extra = EXTRA_OF_PACKAGE.get((error.name or "").partition(".")[0])
        if extra is None:
            return None
        return EdgedetError(f"this needs the package {error.name!r}", fix=f'pip install "edgedet[{extra}]"')
    if isinstance(error, OSError) and error.errno is not None:
        fix = "free some space on that disk, or write elsewhere" if error.errno == errno.ENOSPC else None
        return EdgedetError(error.strerror or str(error), where=error.filename, fix=fix)
    return None


def _nobody_reads_stdout() -> bool:
    """Whether the other end of the pipe is closed. Asking needs no write: a failed flush has already lost its data."""
    poll = select.poll()
    poll.register(sys.stdout, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
