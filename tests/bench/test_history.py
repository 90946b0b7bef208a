"""The history: it only grows, whatever is in it; and the trend that is drawn of it."""

from __future__ import annotations

import json
import multiprocessing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from measurements import MOMENT, computed, protocol, result_of

from edgedet.bench.history import LINE_LIMIT, Entry, History, append, entry_of, read_history
from edgedet.bench.settings import Input, Settings
from edgedet.bench.trend import MOST_PANELS, save_trend, told, trend_rows, trends
from edgedet.errors import EdgedetError

PNG = b"\x89PNG\r\n\x1a\n"


def entry(median: float = 2.0, *, days: int = 0, **changes: Any) -> Entry:
    found = entry_of(result_of([computed(0, median)], measured_at=MOMENT + timedelta(days=days)))
    return found.model_copy(update=changes)


def test_a_history_gives_what_was_added_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "h.jsonl"
    entries = (entry(2), entry(3, days=1), entry(1, days=-1))
    for one in entries:
        append(path, one)
    assert read_history(path) == History(entries, ())


def test_an_entry_is_what_was_measured() -> None:
    result = result_of([computed(0, 1), computed(1, 4)], map=0.4)
    found = entry_of(result)
    assert (found.model, found.median_ms, found.p99_ms, found.map) == ("model.onnx", 2, 3, 0.4)
    assert found.protocol == result.protocol
    no_p99 = protocol(settings=Settings(percentiles=(50,)))
    assert entry_of(result_of([computed(0, 1)], of=no_p99)).p99_ms is None


def test_broken_lines_are_named_and_stay_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    append(path, entry())
    bad = b'{"measured_at": 3\n\xff\xfe\n[1]\n\n{}\n' + b"[" * 100_000 + b"\n"
    with path.open("ab") as file:
        file.write(bad)
    append(path, entry(3))
    found = read_history(path)
    assert [one.median_ms for one in found.entries] == [2, 3]
    assert [fault.split(": ", 2)[0] for fault in found.faults] == [f"{path}:{line}" for line in (2, 3, 4, 6, 7)]
    assert "not valid JSON" in found.faults[0] and "not UTF-8" in found.faults[1]
    assert "not a JSON object" in found.faults[2] and "measured_at" in found.faults[3]
    assert bad in path.read_bytes()


def test_a_line_that_was_cut_off_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    append(path, entry(2))
    append(path, entry(3))
    cut = path.read_bytes()[:-40]
    path.write_bytes(cut)
    append(path, entry(4))
    assert [one.median_ms for one in read_history(path).entries] == [2, 4]
    assert path.read_bytes().startswith(cut + b"\n")
    assert len(read_history(path).faults) == 1


def test_a_line_that_is_too_long_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text(json.dumps({"model": "x" * LINE_LIMIT}) + "\n")
    append(path, entry())
    found = read_history(path)
    assert len(found.entries) == 1
    assert "longer than" in found.faults[0]


def _append_many(path: Path, name: str, count: int) -> None:
    for number in range(count):
        append(path, entry(number + 1, model=name * 5000))


def test_two_processes_that_append_at_once_each_add_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_append_many, args=(path, name, 50)) for name in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    found = read_history(path)
    assert found.faults == ()
    for name in "ab":
        medians = [one.median_ms for one in found.entries if one.model[0] == name]
        assert medians == list(range(1, 51))


def test_what_cannot_be_written_or_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(EdgedetError, match="cannot write"):
        append(tmp_path, entry())
    with pytest.raises(EdgedetError, match="cannot read"):
        read_history(tmp_path / "missing.jsonl")


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("\x1b[31m")
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner))
FIELDS = sorted(Entry.model_fields)


@given(st.dictionaries(st.sampled_from([*FIELDS, "extra"]), VALUES, min_size=1, max_size=3))
def test_whatever_a_line_holds_is_told_or_named(tmp_path_factory: pytest.TempPathFactory, changes: Any) -> None:
    path = tmp_path_factory.mktemp("history") / "h.jsonl"
    values = {**json.loads(entry().model_dump_json()), **changes}
    path.write_text(json.dumps(values) + "\n")
    append(path, entry())
    found = read_history(path)
    assert len(found.entries) + len(found.faults) == 2
    assert [row["runs"] for row in trend_rows(found)]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("measured_at", "2026-03-01T10:00:00"),
        ("median_ms", 0),
        ("median_ms", 1e300),
        ("p99_ms", -1),
        ("model_sha256", "abc"),
    ],
)
def test_figures_that_cannot_be_are_named(tmp_path: Path, field: str, value: object) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text(json.dumps({**json.loads(entry().model_dump_json()), field: value}) + "\n")
    (fault,) = read_history(path).faults
    assert f"skipped, {field}: " in fault


def test_trends_are_of_one_model_and_one_protocol_the_latest_first() -> None:
    batch, other = protocol(batch=4), {"model": "other.onnx"}
    history = History(
        (
            entry(4, days=5),
            entry(2, days=1),
            entry(9, days=2, protocol=batch),
            entry(8, days=9, **other),
        ),
        (),
    )
    found = [(key[1], [one.median_ms for one in entries]) for key, entries in trends(history).items()]
    assert found == [("other.onnx", [8]), ("model.onnx", [2, 4]), ("model.onnx", [9])]
    assert [row["change"] for row in trend_rows(history)] == [0, 1, 0]
    assert len({one.protocol_id for one in history.entries}) == 2


def test_a_protocol_in_a_few_words() -> None:
    settings = Settings(threads=2, end_to_end=True, fps=29.97, input=Input(sha256="1" * 64))
    words = told(entry(protocol=protocol(settings=settings, batch=4)))
    assert words == "Cortex-A76, onnxruntime 1.20.0 (cpu), 64x64, batch 4, 2 threads, end to end, 29.97 images/s"
    assert "3 streams" in told(entry(protocol=protocol(settings=Settings(streams=3))))


@pytest.mark.parametrize("name", ["$a$_{b", "\ud800", "\x00\n\x1b[3m", "caf\udce9.onnx"])
def test_a_model_of_any_name_is_kept_and_drawn(tmp_path: Path, name: str) -> None:
    append(tmp_path / "h.jsonl", entry(model=name))
    found = read_history(tmp_path / "h.jsonl")
    assert [one.model for one in found.entries] == [name]
    save_trend(found, tmp_path / "h.png")
    assert (tmp_path / "h.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize("count", [1, 2, MOST_PANELS + 3])
def test_trends_are_drawn(tmp_path: Path, count: int) -> None:
    entries = [
        entry(2 + day, days=day, model=f"${number}$_{{\\.onnx", disturbed=bool(day), model_sha256=str(day) * 64)
        for number in range(count)
        for day in range(3)
    ]
    save_trend(History(tuple(entries), ()), tmp_path / "h.png")
    assert (tmp_path / "h.png").read_bytes().startswith(PNG)
