"""`edgedet models`: what there is to train, and how large it is."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from edgedet.cli import output

PARTS = ("backbone", "neck", "head", "total")


def command(
    imgsz: Annotated[int, typer.Option(min=32, max=2048, help="Input side in pixels, a multiple of 32.")] = 320,
    classes: Annotated[int, typer.Option(min=1, max=10_000, help="Number of classes.")] = 80,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the models with their parameters and multiply-accumulates."""
    from edgedet.models.summary import model_sizes

    models = [asdict(size) for size in model_sizes(classes, imgsz, imgsz)]
    output.emit({"imgsz": imgsz, "classes": classes, "models": models}, as_json, _render)


def _render(result: dict[str, Any]) -> None:
    headers = ["model", *(f"{part} {unit}" for unit in ("M", "GMAC") for part in PARTS)]
    rows = [
        [
            model["name"],
            *(f"{model['params'][part] / 1e6:.3f}" for part in PARTS),
            *(f"{model['macs'][part] / 1e9:.3f}" for part in PARTS),
        ]
        for model in result["models"]
    ]
    size = result["imgsz"]
    title = f"Parameters (M) and multiply-accumulates (GMAC) at {size}x{size}, {result['classes']} classes"
    output.table(headers, rows, title=title)
