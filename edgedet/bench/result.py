"""What a measurement gave, as it is written and read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime

from edgedet.bench.machine.board_summary import BoardSummary
from edgedet.bench.machine.condition import Condition
from edgedet.bench.machine.disturbance import Disturbance
from edgedet.bench.machine.memory import Memory
from edgedet.bench.machine.power import Power
from edgedet.bench.protocol import Model, Protocol
from edgedet.bench.statistics import Statistics
from edgedet.config import Digest, Frozen, parse
from edgedet.errors import EdgedetError
from edgedet.files import MEBIBYTE, read_text, write_text

FILE_LIMIT = 256 * MEBIBYTE


class CameraPace(Frozen):
    """What became of the images of a camera.

    Attributes:
        fps: its rate.
        frames: images that were processed.
        missed: of them, those that were ready only after the next had come.
        dropped: images that were not looked at, as newer ones had come.
        latency: from the coming of an image to its result.
    """

    fps: float
    frames: int
    missed: int
    dropped: int
    latency: Statistics


class Box(Frozen):
    """A detection: corners in the image's pixels, and its class by name."""

    xyxy: tuple[float, float, float, float]
    score: float
    name: str


class Sample(Frozen):
    """What was found in one image of the input.

    Attributes:
        image: where it is.
        sha256: of its file, so that a report shows no other file of that name.
        detections: best first.
    """

    image: str
    sha256: Digest
    detections: tuple[Box, ...]


class Result(Frozen):
    """One measurement of one model.

    Attributes:
        measured_at: when it ended, with the time zone.
        model: what was measured.
        protocol: how.
        latency: of a query: both copies and the network; with `end_to_end` from the image's file to detections.
        enqueue, h2d, compute, d2h: its parts, as trtexec tells them apart.
        latencies: of every query, in milliseconds, in the order in which they began.
        queries, warm_up_queries: how many were counted, and came before.
        wall_seconds: from the begin of the first counted query to the end of the last.
        queries_per_second, images_per_second: over that time.
        stages: of a detection in milliseconds, and their `total`; None where a tensor was fed.
        pace: where images came at a camera's rate.
        samples: what was found in some of the images.
        before, after: the machine.
        disturbances: why the figures may be doubted; empty is good.
        memory: the most that was taken, from loading on.
        power: None where the machine does not tell it.
        joules_per_image: of the whole that the power is of.
        board: what a Jetson's tegrastats said meanwhile; None elsewhere, and in files of before it was kept.
        layers: `edgedet.bench.layers.table.LayerTable.to_dict()`, where they were timed.
        map: mAP50-95 on the input's dataset, where that was asked for.
        interrupted: whether someone stopped it early.
    """

    version: Literal[1] = 1
    kind: Literal["bench"] = "bench"
    measured_at: AwareDatetime
    model: Model
    protocol: Protocol
    latency: Statistics
    enqueue: Statistics
    h2d: Statistics
    compute: Statistics
    d2h: Statistics
    latencies: tuple[float, ...]
    queries: int
    warm_up_queries: int
    wall_seconds: float
    queries_per_second: float
    images_per_second: float
    stages: Mapping[str, Statistics] | None
    pace: CameraPace | None
    samples: tuple[Sample, ...]
    before: Condition
    after: Condition
    disturbances: tuple[Disturbance, ...]
    memory: Memory | None
    power: Power | None
    joules_per_image: float | None
    board: BoardSummary | None = None
    layers: Mapping[str, Any] | None = None
    map: float | None = None
    interrupted: bool = False


def read_result(path: Path) -> Result:
    """The measurement in a file that `edgedet bench --save` wrote.

    Raises:
        EdgedetError: it is missing, too large or something else.
    """
    return parse(Result, read_record(path, "bench"), where=path)


def read_json(path: Path) -> Any:
    """What the JSON in a result's file stands for.

    Raises:
        EdgedetError: it is missing, too large or no JSON.
    """
    try:
        return json.loads(read_text(path, limit=FILE_LIMIT))
    except (ValueError, RecursionError) as error:
        raise EdgedetError("not valid JSON", where=path, fix="give what edgedet bench --save wrote") from error


def read_record(path: Path, *kinds: str) -> dict[str, Any]:
    """The JSON object in a result's file, of one of these kinds.

    Raises:
        EdgedetError: it is missing, too large or something else.
    """
    value = read_json(path)
    if not isinstance(value, dict) or value.get("kind") not in kinds:
        fix = "give what edgedet bench or edgedet gate wrote with --save"
        raise EdgedetError(f"not a result of edgedet ({' or '.join(kinds)})", where=path, fix=fix)
    return value


def write_result(path: Path, result: Result) -> None:
    """Writes a measurement, all or nothing."""
    # Not `model_dump_json`, which refuses the names of files that are not UTF-8.
    write_text(path, json.dumps(result.model_dump(mode="json"), indent=1, allow_nan=False) + "\n")
