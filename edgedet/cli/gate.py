"""`edgedet gate`: whether a head may be let pass, being neither slower nor worse than its base."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgedet.cli import measuring
from edgedet.cli.options import AllowCodeOption, ForceOption, OperatorsOption
from edgedet.errors import EdgedetError


def command(
    base: Annotated[Path, typer.Argument(help="What it is held to: .onnx, .engine or .pt.", show_default=False)],
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
    Exit codes: 0 it passes, 1 it does not, 3 inconclusive.
    """
    from functools import partial

    from edgedet.bench.gate import run_gate
    from edgedet.bench.opening import Trust
    from edgedet.cli import output
    from edgedet.cli.gate_text import finish

    if split is not None and data is None:
        raise EdgedetError("names a list of no dataset", where="--split", fix="add --data DATA")
    found = run_gate(
        [base, *(builds or ())],
        [head, *(head_builds or ())],
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
        max_slowdown=measuring.share(max_slowdown, "--max-slowdown"),
        max_drop=max_drop,
        time_limit=time_limit,
        fresh_processes=fresh_processes,
        with_layers=layers,
        trust=Trust(operators, force, allow_code),
        track=partial(output.track, unit="sittings"),
    )
    if junit is not None or markdown is not None:
        from edgedet.bench.summary import write_junit, write_markdown

        if junit is not None:
            write_junit(junit, found)
        if markdown is not None:
            write_markdown(markdown, found)
    finish(found, save=save, as_json=as_json)
