"""Files of a report: what `edgedet bench` and `edgedet gate` write is read, and anything else is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from measurements import MOMENT, computed, result_of

from edgedet.bench.accuracy import Accuracy
from edgedet.bench.comparison.compare import Comparison
from edgedet.bench.comparison.interval import Interval
from edgedet.bench.comparison.verdict import Verdict
from edgedet.bench.gate import GateResult
from edgedet.bench.layers.moved import Move
from edgedet.bench.layers.peak import Peak
from edgedet.bench.layers.table import Layer, LayerTable, layer_table
from edgedet.bench.report.cleaning import LONGEST, cleaned, shortened
from edgedet.bench.report.runs import read_contents
from edgedet.bench.result import Result, write_result
from edgedet.errors import EdgedetError

RESULT = result_of([computed(place, place + 2) for place in range(4)])


def layers() -> LayerTable:
    found = [Layer("a_nchwc", "Conv", 0.4, 0.4, macs=10**6, bytes=10**4, nodes=("a",)), Layer("b", "Add", 0.1, 0.1)]
    return layer_table("runtime 1", found, runs=3, whole_run_ms=0.6, peak=Peak(30.0, 80.0, 6.0, 1), notes=("one",))


def gate_of(base: Result, head: Result) -> GateResult:
    verdict = Verdict("slower", Interval(0.1, 0.08, 0.12), Interval(0.0, -0.01, 0.01), 0.001, 0.03, 18, True)
    comparison = Comparison(verdict, (verdict,), {}, ((1.0, 1.0, 1.1),), 12.0, False)
    moves = (Move("conv", "Conv", 0.2, 0.9), Move("gone", "Relu", 0.1, None))
    return GateResult(base, head, comparison, None, Accuracy(0.5, 0.4, 0.3, "val", 9), moves, ("a note",), MOMENT)


def stored(path: Path, **changes: Any) -> Path:
    """A result's file with fields changed after it was written, as a stranger may."""
    path.write_text(json.dumps({**json.loads(RESULT.model_dump_json()), **changes}))
    return path


def test_what_bench_writes_is_read(tmp_path: Path) -> None:
    written = RESULT.model_copy(update={"layers": layers().to_dict(), "map": 0.5})
    write_result(tmp_path / "run.json", written)
    (run,) = read_contents([tmp_path / "run.json"]).runs
    assert (run.name, run.source, run.result.map, run.p99_ms) == ("model.onnx", tmp_path / "run.json", 0.5, 2)
    assert run.layers == layers()


def test_what_gate_writes_is_two_runs_with_their_accuracies_and_a_verdict(tmp_path: Path) -> None:
    found = gate_of(RESULT, RESULT)
    (tmp_path / "gate.json").write_text(json.dumps(found.to_dict()))
    contents = read_contents([tmp_path / "gate.json"])
    (gate,) = contents.gates
    assert (gate.base, gate.head) == contents.runs
    assert [run.result.map for run in contents.runs] == [0.5, 0.4]
    assert (gate.outcome, gate.verdict, gate.moves, gate.notes) == (
        "fail",
        found.comparison.verdict,
        found.moves,
        ("a note",),
    )


def test_models_of_one_name_are_numbered(tmp_path: Path) -> None:
    paths = [stored(tmp_path / f"{number}.json") for number in range(3)]
    assert [run.name for run in read_contents(paths).runs] == ["model.onnx", "model.onnx #2", "model.onnx #3"]


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "something"},
        {"latencies": []},
        {"latencies": [1.0, 0.0]},
        {"latencies": [1e10]},
        {"latencies": "many"},
        {"map": 2},
        {"wall_seconds": 1e300},
        {"images_per_second": float("nan")},
        {"queries_per_second": 10**400},
        {"surprise": 1},
        {"layers": {"layers": 3}},
        {"layers": {**layers().to_dict(), "peak": {**vars(Peak(0.0, 1.0, 1.0, 1))}}},
        {"layers": {**layers().to_dict(), "layers": [{**vars(Layer("a", "Conv", -1.0, 1.0))}]}},
        {"protocol": None},
    ],
)
def test_what_cannot_be_drawn_is_an_error_that_names_the_file(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = stored(tmp_path / "bad.json", **changes)
    with pytest.raises(EdgedetError) as caught:
        read_contents([path])
    assert caught.value.where == str(path)


@pytest.mark.parametrize("field", ["base", "head", "comparison", "outcome"])
@pytest.mark.parametrize("value", [None, 3, [], {}])
def test_a_gate_without_its_parts_is_an_error_that_names_the_file(tmp_path: Path, field: str, value: object) -> None:
    path = tmp_path / "gate.json"
    path.write_text(json.dumps({**gate_of(RESULT, RESULT).to_dict(), field: value}))
    with pytest.raises(EdgedetError) as caught:
        read_contents([path])
    assert caught.value.where == str(path)


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner))


@given(st.dictionaries(st.sampled_from(sorted(gate_of(RESULT, RESULT).to_dict())), VALUES, min_size=1, max_size=2))
def test_whatever_a_gate_holds_is_read_or_named(tmp_path_factory: pytest.TempPathFactory, changes: Any) -> None:
    path = tmp_path_factory.mktemp("gates") / "gate.json"
    path.write_text(json.dumps({**gate_of(RESULT, RESULT).to_dict(), **changes}))
    try:
        assert len(read_contents([path]).runs) == 2
    except EdgedetError as error:
        assert error.where == str(path)


def test_texts_are_cut_and_lose_what_cannot_be_seen() -> None:
    values = {"a\x00": ["\u202eevil\ud800\n", "x" * 5000, 1.5, None, True]}
    ((key, (text, long, *rest)),) = cleaned(values, Path("f")).items()
    assert (key, text, rest) == ("a�", "�evil��", [1.5, None, True])
    assert len(long) == LONGEST


def test_a_long_name_keeps_both_ends() -> None:
    assert shortened("abcdefghij", 5) == "ab…ij"
    assert shortened("abcde", 5) == "abcde"


def test_values_nested_too_deep_are_an_error() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(EdgedetError, match="f: nested too deep"):
        cleaned(value, Path("f"))
