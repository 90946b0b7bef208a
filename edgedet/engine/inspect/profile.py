"""How long each layer takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edgedet.engine.inspect.json_text import parse_json, text_in
from edgedet.engine.inspect.layers import Engine
from edgedet.errors import EdgedetError

LONGEST_MS = 1e9


def read_profile(text: str, *, where: object = None) -> dict[str, float]:
    """Milliseconds of one run by layer name: the median, or the average where there is none.

    Args:
        text: what `trtexec --exportProfile` wrote: a list of `{"count": N}`, then `{name, timeMs, averageMs, medianMs,
            percentage}` for each layer (NVIDIA/TensorRT, samples/common/sampleReporting.cpp). Layers of one name are
            added up.
        where: named in errors.

    Raises:
        EdgedetError: the text is something else.
    """
    values = parse_json(text, where=where)
    rows = [row for row in values if isinstance(row, dict) and "name" in row] if isinstance(values, list) else []
    if not rows:
        raise EdgedetError("no profile of layers", where=where, fix="give what trtexec --exportProfile=FILE wrote")
    times: dict[str, float] = {}
    for row in rows:
        name = text_in(row, "name")
        times[name] = times.get(name, 0.0) + _milliseconds(row, name, where)
    return times


def _milliseconds(row: dict[str, Any], name: str, where: object) -> float:
    value = row.get("medianMs", row.get("averageMs"))
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LONGEST_MS:
        raise EdgedetError(f"layer {name[:100]!r} has no time", where=where, fix="profile the engine again")
    return float(value)


def with_times(engine: Engine, profile: Mapping[str, float], *, where: object = None) -> Engine:
    """The engine with the times of its layers; those of one name share theirs.

    Args:
        engine: any.
        profile: milliseconds by layer name.
        where: named in errors.

    Raises:
        EdgedetError: the profile has no time of any of its layers.
    """
    sharing = Counter(layer.name for layer in engine.layers)
    if not profile.keys() & sharing.keys():
        fix = "profile the engine that the layers are of, in one run of trtexec or with --profile-runs"
        raise EdgedetError("none of the layers is in the profile: it is of another engine", where=where, fix=fix)
    layers = [
        replace(layer, milliseconds=profile[layer.name] / sharing[layer.name]) if layer.name in profile else layer
        for layer in engine.layers
    ]
    return replace(engine, layers=tuple(layers), milliseconds=sum(profile.values()))
