"""The demo's page: one HTML file that needs no network."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgedet.files import MEBIBYTE, read_bytes

STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.5rem; }
table { border-collapse: collapse; } th, td { padding: .3rem .9rem; border-bottom: 1px solid var(--line); }
th, td:first-child { text-align: left; }
td { text-align: right; font-variant-numeric: tabular-nums; }
img { max-width: 100%; height: auto; border-radius: 6px; }
small { opacity: .75; }
"""


def page(demo: Mapping[str, Any], pictures: Mapping[str, Path]) -> str:
    """The page as HTML.

    Args:
        demo: `edgedet.demo.run.Demo.to_dict()`.
        pictures: PNG files by heading; they are embedded.
    """
    export = demo["export"]
    agreement = export["agreement"]
    parts = [
        "<h1>edgedet demo</h1>",
        f"<p>{_text(export['model'])}, {export['imgsz'][1]}x{export['imgsz'][0]} pixels, {export['classes']} classes, "
        "trained from random weights on generated images.</p>",
        "<h2>Accuracy</h2>",
        _table(
            ["file", "mAP50-95 on the test split"], [[name, _number(value, 4)] for name, value in demo["map"].items()]
        ),
        f"<p><small>The exported file differs from the checkpoint by at most "
        f"{agreement['box_error']:.2g} pixels and {agreement['score_error']:.2g} in score.</small></p>",
        "<h2>Latency on this machine</h2>",
        _latency_table(demo["latency"]),
        "<h2>Time of each step</h2>",
        _table(["step", "seconds"], [[name, f"{value:.1f}"] for name, value in demo["seconds"].items()]),
    ]
    for heading, path in pictures.items():
        parts += [f"<h2>{_text(heading)}</h2>", _picture(heading, path)]
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>edgedet demo</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n'
        f"<body>\n{body}\n</body></html>\n"
    )


def _latency_table(latency: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for threads, result in latency.items():
        suffix = f"{threads} thread{'s' * (threads != '1')}"
        kinds = {"inference": result["latency"], "file to detections": result["stages"]["total"]}
        rows += [
            [
                f"{kind}, {suffix}",
                f"{found['median']:.2f}",
                *(f"{value:.2f}" for value in found["percentiles"].values()),
            ]
            for kind, found in kinds.items()
        ]
    percentages = next(iter(latency.values()))["latency"]["percentiles"]
    headers = ["milliseconds", "median", *(f"p{float(value):g}" for value in percentages)]
    protocol = next(iter(latency.values()))["protocol"]
    told = f"{protocol['backend']}, {protocol['computer']['cpu']}, input {protocol['settings']['input']['kind']}"
    return _table(headers, rows) + f"<p><small>{_text(told)}</small></p>"


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{_text(header)}</th>" for header in headers)
    lines = ["<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _picture(heading: str, path: Path) -> str:
    data = base64.b64encode(read_bytes(path, limit=64 * MEBIBYTE)).decode()
    return f'<img alt="{_text(heading)}" src="data:image/png;base64,{data}">'


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _text(value: object) -> str:
    return html.escape(str(value))
