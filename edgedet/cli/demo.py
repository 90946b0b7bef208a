"""`edgedet demo`: the whole way on generated images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgedet.cli import output


def command(
    out: Annotated[Path, typer.Option(help="Folder for everything that is made.")] = Path("demo"),
    model: Annotated[str, typer.Option(help="A name of `edgedet models`.")] = "shufflenetv2_0.5x",
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of training.")] = 30,
    seed: Annotated[int, typer.Option(min=0, help="Of the images and the training.")] = 0,
    json_: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Generate images, train, export, evaluate, draw and measure, and write a page, in minutes."""
    import os

    from edgedet.cli.training import TerminalReporter
    from edgedet.demo.run import run_demo

    cores = len(os.sched_getaffinity(0))
    threads = (1, 2) if cores > 1 else (1,)
    demo = run_demo(out, model=model, epochs=epochs, seed=seed, threads=threads, reporter=TerminalReporter())
    output.emit(demo.to_dict(), json_, _render)


def _render(result: dict[str, Any]) -> None:
    for name, value in result["map"].items():
        print(f"mAP50-95 of the {name}: {value:.4f}")
    for threads, latency in result["latency"].items():
        print(f"inference at {threads} thread(s): {latency['latency']['median']:.2f} ms (median)")
    print(f"took {sum(result['seconds'].values()):.0f} s; look at {result['page']}")
