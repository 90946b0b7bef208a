"""The `edgedet` command: its verbs, and what a person sees when something goes wrong."""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from edgedet import __version__
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
    "onnxruntime": "ort",
    "onnxscript": "train",
    "tensorboard": "train",
    "torch": "train",
}


class VerbGroup(TyperGroup):
    """Runs a verb and turns what it raises into one message and an exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Takes `--debug` from anywhere on the line: it is added to a command that has just failed."""
        before_end = args[: args.index("--")] if "--" in args else args
        if "--debug" in before_end:
            args = ["--debug", *(arg for arg in before_end if arg != "--debug"), *args[len(before_end) :]]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (EdgedetError, OSError, MemoryError, ModuleNotFoundError, KeyboardInterrupt) as error:
            raise typer.Exit(_report(error, debug=ctx.params["debug"])) from error
        except Exception as error:
            if _is_typers_own(error):
                raise
            raise typer.Exit(_report(error, debug=ctx.params["debug"])) from error


app = typer.Typer(
    cls=VerbGroup,
    help="Train, verify and deploy compact object detectors on small devices.",
    no_args_is_help=True,
    # Rich help pages cost more time to import than everything else together.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"edgedet {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Train, verify and deploy compact object detectors on small devices."""


for _verb in ("data", "models", "train", "eval", "predict", "export", "bench", "demo"):
    if find_spec(f"edgedet.cli.{_verb}") is not None:
        _module = import_module(f"edgedet.cli.{_verb}")
        if _verb == "data":
            app.add_typer(_module.app, name=_verb)
        else:
            app.command(_verb)(_module.command)


def main() -> None:
    """Entry point of the `edgedet` command; ends with SystemExit."""
    try:
        app(prog_name="edgedet")
    finally:
        _flush_stdout()


def _is_typers_own(error: Exception) -> bool:
    """Whether it is for typer to handle: a usage error, or an exit."""
    usage_error = typer.BadParameter.__mro__[2]
    return isinstance(error, usage_error | typer.Exit | typer.Abort)


def _report(error: BaseException, *, debug: bool) -> int:
    """Prints what happened on stderr and returns the exit code."""
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE_EXIT_CODE
    output.stop_bars()
    if debug:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED_EXIT_CODE
    known = _explained(error)
    if known is None:
        fix = "report it with the traceback above" if debug else "run it again with --debug and report the traceback"
        what = f"this is a bug in edgedet: {type(error).__name__}: {error}"
        known, code = EdgedetError(what, fix=fix), BUG_EXIT_CODE
    else:
        code = known.exit_code
    print(f"error: {output.printable(str(known))}", file=sys.stderr)
    return code


def _explained(error: BaseException) -> EdgedetError | None:
    """The error as one that a person can act on, or None where it is a bug."""
    if isinstance(error, EdgedetError):
        return error
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return EdgedetError("out of memory", fix="use a smaller --batch or --imgsz, or free some memory")
    if isinstance(error, ModuleNotFoundError):
        extra = EXTRA_OF_PACKAGE.get((error.name or "").partition(".")[0])
        if extra is None:
            return None
        return EdgedetError(f"needs the package {error.name!r}", fix=f'pip install "edgedet[{extra}]"')
    if isinstance(error, OSError) and error.errno is not None:
        fix = "free some space on that disk, or write elsewhere" if error.errno == errno.ENOSPC else None
        return EdgedetError(error.strerror or str(error), where=error.filename, fix=fix)
    return None


def _flush_stdout() -> None:
    """Flushes while a failure can still be handled: at the interpreter's exit it would be a stray traceback."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_report(error, debug=False))
