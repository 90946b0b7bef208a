"""`edgedet bench`: the latency of a model on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgedet.cli.options import AllowCodeOption, ForceOption, OperatorsOption


def command(
    model: Annotated[Path, typer.Argument(help="Model file: .onnx, .engine or .pt.")],
    threads: Annotated[int, typer.Option(min=1, help="Threads, each on a core of its own.")] = 1,
    iterations: Annotated[int, typer.Option(min=1, help="Timed runs.")] = 100,
    warmup: Annotated[int, typer.Option(min=0, help="Runs before them, not timed.")] = 10,
    image: Annotated[
        Path | None, typer.Option(help="Image to detect in.", show_default="a generated one, 640x480")
    ] = None,
    operators: OperatorsOption = None,
    force: ForceOption = False,
    allow_code: AllowCodeOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Measure latency percentiles and throughput, with the protocol they were measured under."""
    from edgedet.bench.latency import measure_latency
    from edgedet.cli.output import emit

    latency = measure_latency(
        model,
        threads=threads,
        iterations=iterations,
        warmup=warmup,
        image=image,
        operators=operators,
        force=force,
        allow_code=allow_code,
    )
    emit(latency.to_dict(), as_json, _render)


def _render(result: dict[str, Any]) -> None:
    from edgedet.cli.output import printable, table

    rows = {
        "inference alone": result["inference"],
        **{f"  {stage}": figures for stage, figures in result["stages"].items()},
        "end to end": result["end_to_end"],
    }
    columns = ("p50", "p90", "p95", "p99", "mean", "min", "max")
    table(
        ["ms", *columns],
        [[name, *(f"{figures[column]:.3f}" for column in columns)] for name, figures in rows.items()],
    )
    rates = result["throughput"]
    print(f"throughput: {rates['inference']:.1f} images/s inference alone, {rates['end_to_end']:.1f} end to end")
    print("protocol:")
    for key, value in result["protocol"].items():
        print(printable(f"  {key}: {value}"))
