"""The `edgedet` command and its verbs."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from edgedet import __version__
from edgedet.cli import (
    bench,
    build,
    compare,
    data,
    demo,
    doctor,
    export,
    gate,
    inspect,
    jetson,
    lint,
    models,
    pg,
    predict,
    quantize,
    recipes,
    report_page,
    sweep,
    train,
)
from edgedet.cli import eval as eval_verb
from edgedet.cli.report import report


class VerbGroup(TyperGroup):
    """Runs a verb and turns what it raises into one message and an exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Takes `--debug` from anywhere on the line: people add it to the command that has just failed."""
        before_end = args[: args.index("--")] if "--" in args else args
        if "--debug" in before_end:
            args = ["--debug", *(arg for arg in before_end if arg != "--debug"), *args[len(before_end) :]]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        """`data` first, where the work starts: typer lists a verb that has verbs of its own last."""
        return sorted(super().list_commands(ctx), key=lambda name: name != "data")

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except (Exception, KeyboardInterrupt) as error:
            # Typer prints its own usage errors; their class has no public name.
            if hasattr(error, "format_message"):
                raise
            raise typer.Exit(report(error, debug=ctx.params["debug"])) from error


app = typer.Typer(
    cls=VerbGroup,
    no_args_is_help=True,
    # Rich help pages take longer to import than everything else together.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"edgedet {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Train, verify and deploy compact object detectors on small devices."""


app.add_typer(data.app, name="data")
app.command("models")(models.command)
app.command("recipes")(recipes.command)
app.command("train")(train.command)
app.command("sweep")(sweep.command)
app.command("eval")(eval_verb.command)
app.command("predict")(predict.command)
app.add_typer(pg.app, name="pg")
app.command("quantize")(quantize.command)
app.command("export")(export.command)
app.command("build")(build.command)
app.command("compare")(compare.command)
app.command("inspect")(inspect.command)
app.command("lint")(lint.command)
app.command("bench")(bench.command)
app.command("gate")(gate.command)
app.command("report")(report_page.command)
app.command("doctor")(doctor.command)
app.add_typer(jetson.app, name="jetson")
app.command("demo")(demo.command)


def main() -> None:
    """Entry point of the `edgedet` command; ends with SystemExit."""
    try:
        try:
            app(prog_name="edgedet")
        finally:
            # Now a failure can still be reported; at the interpreter's exit it would be a stray traceback.
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        exit_code = report(error, debug="--debug" in sys.argv)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(exit_code)
