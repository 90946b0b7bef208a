"""What a report is made of, read from files that `edgedet bench` and `edgedet gate` wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from edgedet.bench.accuracy import Accuracy
from edgedet.bench.comparison.verdict import Verdict
from edgedet.bench.layers.moved import Move
from edgedet.bench.layers.table import LayerTable
from edgedet.bench.report.cleaning import cleaned, shortened
from edgedet.bench.result import Result, read_record
from edgedet.config import parse
from edgedet.errors import EdgedetError

T = TypeVar("T")

LONGEST_NAME = 32
LONGEST_MILLISECONDS = 1e9
MOST_LAYERS = 10_000
MOST_BOXES = 1000


@dataclass(frozen=True)
class Run:
    """A measurement on the page.

    Attributes:
        name: of the model's file; no other run has the same.
        source: the file that holds it.
        result: what was measured.
        layers: where they were timed.
    """

    name: str
    source: Path
    result: Result
    layers: LayerTable | None

    @property
    def p99_ms(self) -> float | None:
        """Of the latency; None where the 99th percentile was not asked for."""
        return self.result.latency.percentiles.get(99.0)


@dataclass(frozen=True)
class Gate:
    """Two runs of which one is held to the other.

    Attributes:
        base, head: the runs.
        outcome: `pass`, `fail` or `inconclusive`.
        verdict: on speed.
        accuracy: None where no data was given.
        moves: the layers by how much their times differ.
        notes: what could not be looked at, and why.
    """

    base: Run
    head: Run
    outcome: str
    verdict: Verdict
    accuracy: Accuracy | None
    moves: tuple[Move, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Contents:
    """All that the files hold.

    Attributes:
        runs: in the order of the files; those of a gate, too, the base first.
        gates: the comparisons.
    """

    runs: tuple[Run, ...]
    gates: tuple[Gate, ...]


def read_contents(paths: Sequence[Path]) -> Contents:
    """Reads the files of a report.

    Raises:
        EdgedetError: a file is missing or holds something else; it says which.
    """
    runs: list[Run] = []
    gates: list[Gate] = []
    for path in paths:
        record = cleaned(read_record(path, "bench", "gate"), path)
        if record["kind"] == "bench":
            runs.append(_run(record, path, runs))
        else:
            gate = _gate(record, path, runs)
            gates.append(gate)
            runs += [gate.base, gate.head]
    return Contents(tuple(runs), tuple(gates))


def _run(record: dict[str, Any], path: Path, before: Sequence[Run]) -> Run:
    result = _result(record, path)
    return Run(_name(result, [run.name for run in before]), path, result, _layers(result, path))


def _result(record: dict[str, Any], path: Path) -> Result:
    result = parse(Result, record, where=path)
    latency = result.latency
    times = (latency.min, latency.median, latency.mean, latency.max, *latency.percentiles.values(), *result.latencies)
    if not result.latencies or not all(0 < time <= LONGEST_MILLISECONDS for time in times):
        raise EdgedetError("latencies: none, or one that is not above 0 and at most 1e9 ms", where=path)
    if result.map is not None and not 0 <= result.map <= 1:
        raise EdgedetError(f"map: {result.map:g} is not from 0 to 1", where=path)
    if any(len(sample.detections) > MOST_BOXES for sample in result.samples):
        raise EdgedetError(f"samples: more than {MOST_BOXES} detections in an image", where=path)
    return result


def _layers(result: Result, path: Path) -> LayerTable | None:
    if result.layers is None:
        return None
    table = _as(LayerTable, result.layers, "layers", path)
    if len(table.layers) > MOST_LAYERS:
        raise EdgedetError(f"layers: more than {MOST_LAYERS}", where=path)
    figures = [
        value for layer in table.layers for value in (layer.milliseconds, layer.macs, layer.bytes) if value is not None
    ]
    if min(figures, default=0) < 0:
        raise EdgedetError("layers: a time, work or size is below 0", where=path)
    peak = table.peak
    if peak is not None and min(peak.float32_gmacs, peak.integer_gmacs, peak.gigabytes_per_second) <= 0:
        raise EdgedetError("layers.peak: not above 0", where=path)
    return table


def _gate(record: dict[str, Any], path: Path, before: Sequence[Run]) -> Gate:
    accuracy = None if record.get("accuracy") is None else _as(Accuracy, record["accuracy"], "accuracy", path)
    base_map, head_map = (None, None) if accuracy is None else (accuracy.base, accuracy.head)
    base = _run({**_mapping(record, "base", path), "map": base_map}, path, before)
    head = _run({**_mapping(record, "head", path), "map": head_map}, path, [*before, base])
    return Gate(
        base=base,
        head=head,
        outcome=_as(str, record.get("outcome"), "outcome", path),
        verdict=_as(Verdict, _mapping(record, "comparison", path).get("verdict"), "comparison.verdict", path),
        accuracy=accuracy,
        moves=_as(tuple[Move, ...], record.get("moves", []), "moves", path),
        notes=_as(tuple[str, ...], record.get("notes", []), "notes", path),
    )


def _name(result: Result, taken: Sequence[str]) -> str:
    """Of the model's file, with a number where that is taken."""
    name = told = shortened(Path(result.model.path).name or "model", LONGEST_NAME)
    number = 1
    while told in taken:
        number += 1
        told = f"{name} #{number}"
    return told


def _mapping(record: dict[str, Any], key: str, path: Path) -> dict[str, Any]:
    value = record.get(key)
    if not isinstance(value, dict):
        raise EdgedetError(f"{key}: not an object", where=path, fix="give what edgedet gate --save wrote")
    return value


def _as(kind: type[T], value: object, key: str, path: Path) -> T:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, (key, *first["loc"])))
        fix = "give what edgedet bench or edgedet gate wrote with --save"
        raise EdgedetError(f"{place}: {first['msg']}", where=path, fix=fix) from error
