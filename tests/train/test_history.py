from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgedet.errors import EdgedetError
from edgedet.train.history import History


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


@pytest.fixture
def three_epochs(path: Path) -> list[dict[str, Any]]:
    history = History(path, 0)
    for epoch in (1, 2, 3):
        history.append({"epoch": epoch, "loss": epoch / 3, "map": None})
    return history.records


def test_one_line_of_json_an_epoch(path: Path, three_epochs: list[dict[str, Any]]) -> None:
    assert lines(path) == three_epochs
    assert path.read_text().endswith("}\n")
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("epochs", [0, 1, 2, 3, 9])
def test_going_on_keeps_the_epochs_that_stand_and_drops_later_ones(
    path: Path, three_epochs: list[dict[str, Any]], epochs: int
) -> None:
    history = History(path, epochs)
    assert history.records == three_epochs[:epochs]
    history.append({"epoch": "again"})
    assert lines(path) == [*three_epochs[:epochs], {"epoch": "again"}]


def test_nothing_is_written_before_an_epoch_is_done(path: Path, three_epochs: list[dict[str, Any]]) -> None:
    before = path.read_bytes()
    History(path, 1)
    assert path.read_bytes() == before


def test_a_missing_file_is_no_history(path: Path) -> None:
    history = History(path, 5)
    assert history.records == []
    assert not path.exists()


def test_what_an_old_run_left_does_not_matter_to_a_new_one(path: Path) -> None:
    path.write_bytes(b"\xff not json")
    History(path, 0).append({"epoch": 1})
    assert lines(path) == [{"epoch": 1}]


@pytest.mark.parametrize("broken", ['{"epoch": 2', "3", "[]", "null", "word", "[" * 100_000, "1" * 5000])
def test_a_broken_line_is_named(path: Path, broken: str) -> None:
    path.write_text('{"epoch": 1}\n' + broken + "\n")
    with pytest.raises(EdgedetError, match="not a JSON object") as caught:
        History(path, 2)
    assert caught.value.where == f"{path}:2"
    assert broken in path.read_text()


def test_bytes_that_are_no_text_are_refused(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(EdgedetError, match="UTF-8"):
        History(path, 1)
