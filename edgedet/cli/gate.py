"""`edgedet gate`: whether a head may be let pass, being neither slower nor worse than its base."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgedet.cli import measuring
from edgedet.cli.options import AllowCodeOption, ForceOption, OperatorsOption
from edgedet.errors import EdgedetError

if TYPE_CHECKING:
    from edgedet.bench.gate import GateResult

IN_TURN = (
    "builds",
    "head_builds",
    "engines",
    "shapes",
    "threads",
    "device",
    "end_to_end",
    "duration",
    "time_limit",
    "fresh_processes",
    "layers",
)


def command(
    context: typer.Context,
    base: Annotated[
        Path,
        typer.Argument(
            help="What it is held to: .onnx, .engine, .pt, or a result of bench --save.", show_default=False
        ),
    ],
    head: Annotated[Path, typer.Argument(help="What is to pass.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Option(metavar="DATA", help="Labelled images to evaluate both on.", show_default="speed alone"),
    ] = None,
    split: measuring.SplitOption = None,
    max_slowdown: measuring.MaxSlowdownOption = "3%",
    max_drop: Annotated[
        float, typer.Option("--max-drop", min=0, metavar="POINTS", help="mAP50-95, in points of 100, it may lose.")
    ] = 0.3,
    builds: Annotated[
        list[Path] | None,
        typer.Option(
            "--build", metavar="ENGINE", help="Another build of the base's engine; again for more.", show_default="none"
        ),
    ] = None,
    head_builds: Annotated[
        list[Path] | None,
        typer.Option("--head-build", metavar="ENGINE", help="Another build of the head's.", show_default="none"),
    ] = None,
    engines: Annotated[
        int,
        typer.Option(
            min=0, max=100, help="Build so many engines of each ONNX file, and compare those.", show_default="none"
        ),
    ] = 0,
    between_runs: Annotated[
        str,
        typer.Option(
            "--between-runs", metavar="PERCENT", help="How far a stored result and a run of the same model may differ."
        ),
    ] = "55%",
    shapes: measuring.ShapesOption = None,
    threads: measuring.ThreadsOption = 1,
    device: measuring.DeviceOption = None,
    end_to_end: measuring.EndToEndOption = False,
    duration: measuring.DurationOption = 1.0,
    time_limit: measuring.TimeLimitOption = 120.0,
    fresh_processes: measuring.FreshProcessesOption = False,
    layers: Annotated[bool, typer.Option("--layers/--no-layers", help="Say which layers moved.")] = True,
    save: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the result as JSON.")] = None,
    junit: Annotated[Path | None, typer.Option(metavar="XML", help="Write it as JUnit.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="MD", help="Write a summary as Markdown.")] = None,
    operators: OperatorsOption = None,
    force: ForceOption = False,
    allow_code: AllowCodeOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Refuse a model that is slower, or worse, than its base.

    Both are measured here and now, in turn, beside the base once more, until the answer is known or the time is over.
    Where BASE is the result of an earlier measurement, HEAD is measured as it was, and has to be slower by more than
    two runs may differ to be refused. Exit codes: 0 it passes, 1 it does not, 3 inconclusive.
    """
    from functools import partial

    from edgedet.bench.gate import run_gate
    from edgedet.bench.opening import Trust
    from edgedet.bench.stored_gate import STORED, run_stored_gate
    from edgedet.cli import output
    from edgedet.cli.gate_text import finish

    if split is not None and data is None:
        raise EdgedetError("names a list of no dataset", where="--split", fix="add --data DATA")
    tolerated = measuring.share(max_slowdown, "--max-slowdown")
    trust = Trust(operators, force, allow_code)
    measuring.require_outputs((save, junit, markdown), (base, head), "what is to be compared")
    if base.suffix.lower() == STORED:
        if others := measuring.given_on_line(context, IN_TURN):
            raise EdgedetError(f"the result says how to measure: {others}", where=base, fix="leave it out")
        found = run_stored_gate(
            base,
            head,
            data=data,
            split=split,
            max_slowdown=tolerated,
            max_drop=max_drop,
            between_runs=measuring.share(between_runs, "--between-runs"),
            trust=trust,
            track=partial(output.track, unit="batches"),
        )
    else:
        if others := measuring.given_on_line(context, ["between_runs"]):
            raise EdgedetError(f"{others}: both are measured now, in turn", where=base, fix="leave it out")
        with _builds(base, builds, head, head_builds, engines, operators, data) as (bases, heads):
            found = run_gate(
                bases,
                heads,
                measuring.chosen_settings(
                    duration=duration,
                    percentiles="90,95,99",
                    shape=shapes,
                    threads=threads,
                    device=device,
                    end_to_end=end_to_end,
                    input=measuring.chosen_input(data, split, None, None),
                ),
                data=data,
                split=split,
                max_slowdown=tolerated,
                max_drop=max_drop,
                time_limit=time_limit,
                fresh_processes=fresh_processes,
                with_layers=layers,
                trust=trust,
                track=partial(output.track, unit="steps"),
            )
    _write(found, junit, markdown)
    finish(found, save=save, as_json=as_json)


@contextmanager
def _builds(
    base: Path,
    builds: list[Path] | None,
    head: Path,
    head_builds: list[Path] | None,
    engines: int,
    operators: Path | None,
    data: Path | None,
) -> Iterator[tuple[list[Path], list[Path]]]:
    """The model files of both sides; engines that are built for the comparison are gone after the block."""
    if engines == 0:
        yield [base, *(builds or ())], [head, *(head_builds or ())]
        return
    if builds or head_builds:
        fix = "leave --engines out, or --build and --head-build"
        raise EdgedetError("engines are built now, or were built before", where="--engines", fix=fix)
    import tempfile

    from edgedet.bench.comparison.engines import build_engines
    from edgedet.cli.build_progress import watched

    with tempfile.TemporaryDirectory(prefix="edgedet-gate-") as folder:
        sides = []
        for name, model in (("base", base), ("head", head)):
            with watched(f"building {engines} engines of {model.name}") as watcher:
                place = Path(folder) / name
                sides.append(build_engines(model, engines, place, operators=operators, data=data, watcher=watcher))
        yield sides[0], sides[1]


def _write(found: GateResult, junit: Path | None, markdown: Path | None) -> None:
    if junit is not None:
        from edgedet.bench.summary import write_junit

        write_junit(junit, found)
    if markdown is not None:
        from edgedet.bench.summary import write_markdown

        write_markdown(markdown, found)
