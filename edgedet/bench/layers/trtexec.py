"""A table of layers as trtexec writes one (NVIDIA/TensorRT, samples/common/sampleReporting.cpp, `Profiler`)."""

from __future__ import annotations

import json

from edgedet.bench.layers.table import LayerTable

TIME, AVERAGE, MEDIAN, SHARE, NAME = "   Time(ms)", "     Avg.(ms)", "   Median(ms)", "   Time(%)", "   Layer"
"""Headers of the columns, which are as wide as these."""


def profile_json(table: LayerTable) -> str:
    """What `--exportProfile` writes: the count of runs, then a record of each layer.

    `edgedet.engine.inspect.profile.read_profile` reads it. Times are of all runs (`timeMs`) and of one.
    """
    total = sum(layer.mean_ms for layer in table.layers)
    rows = [
        {
            "name": layer.name,
            "timeMs": layer.mean_ms * table.runs,
            "averageMs": layer.mean_ms,
            "medianMs": layer.milliseconds,
            "percentage": _percent(layer.mean_ms, total),
        }
        for layer in table.layers
    ]
    return "\n, ".join(["[\n  " + json.dumps({"count": table.runs}), *map(json.dumps, rows)]) + "\n]\n"


def profile_text(table: LayerTable) -> str:
    """What `--dumpProfile` prints, without the prefixes of trtexec's log.

    The last row's median is the sum of the layers' medians; trtexec's is the median of the runs' sums.
    """
    total = sum(layer.mean_ms for layer in table.layers)
    lines = [f"=== Profile ({table.runs} iterations ) ===", f"{TIME}{AVERAGE}{MEDIAN}{SHARE}{NAME}"]
    lines += [
        _row(layer.mean_ms, layer.milliseconds, table.runs, _percent(layer.mean_ms, total), layer.name)
        for layer in table.layers
    ]
    lines.append(_row(total, table.total_ms, table.runs, 100.0, "Total"))
    return "\n".join(lines) + "\n"


def _row(mean: float, median: float, runs: int, percent: float, name: str) -> str:
    figures = f"{mean * runs:{len(TIME)}.2f}{mean:{len(AVERAGE)}.4f}{median:{len(MEDIAN)}.4f}{percent:{len(SHARE)}.1f}"
    return f"{figures}   {name}"


def _percent(part: float, total: float) -> float:
    return 100 * part / total if total else 0.0
