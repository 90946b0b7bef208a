from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet.data.sample import Dataset, Sample
from edgedet.errors import EdgedetError
from edgedet.evaluate import predictions
from edgedet.evaluate.predictions import Predictions, category_ids, read_results, write_results

GOOD = {"image_id": 7, "category_id": 3, "bbox": [1, 2, 30, 40], "score": 0.5}


def sample(name: str, image_id: int) -> Sample:
    empty = np.zeros(0)
    return Sample(Path(name), image_id, np.zeros((0, 4), np.float32), empty.astype(np.int64), empty.astype(bool))


SAMPLES = [sample("/data/left/a.jpg", 7), sample("/data/right/a.jpg", 8), sample("/data/left/b.1.png", 9)]


def read(folder: Path, entries: Any) -> list[Predictions]:
    path = folder / "results.json"
    path.write_text(entries if isinstance(entries, str) else json.dumps(entries))
    return read_results(path, SAMPLES, (1, 3))


def test_an_entry_becomes_a_detection(tmp_path: Path) -> None:
    first, second, third = read(tmp_path, [GOOD])
    np.testing.assert_array_equal(first.xyxy, [[1, 2, 31, 42]])
    assert first.score.tolist() == [0.5]
    assert first.class_id.tolist() == [1]
    assert len(second.score) == len(third.score) == 0


def test_of_images_called_alike_the_id_says_which(tmp_path: Path) -> None:
    found = [np.array([[1, 2, 3 + index, 4]], np.float32) for index in range(3)]
    detections = [Predictions(boxes, np.array([0.5]), np.array([0])) for boxes in found]
    write_results(tmp_path / "results.json", SAMPLES, detections, (1, 3))
    again = read_results(tmp_path / "results.json", SAMPLES, (1, 3))
    assert [one.xyxy.tolist() for one in again] == [boxes.tolist() for boxes in found]


def test_an_empty_list_is_no_detections(tmp_path: Path) -> None:
    assert [len(one.score) for one in read(tmp_path, [])] == [0, 0, 0]


@pytest.mark.parametrize(
    ("key", "value", "index"),
    [
        ("file_name", "b.1.png", 2),
        ("file_name", "left/a.jpg", 0),
        ("file_name", "right/a.jpg", 1),
        ("image_id", "b.1", 2),
        ("image_id", 8, 1),
    ],
)
def test_an_image_is_found_by_id_and_by_name(tmp_path: Path, key: str, value: Any, index: int) -> None:
    entry = {**GOOD, "image_id": 7, key: value}
    assert [len(one.score) for one in read(tmp_path, [entry])].index(1) == index


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (3, "is a JSON number"),
        (None, "is a JSON null"),
        ([GOOD], "is a JSON list"),
        ({key: GOOD[key] for key in ("image_id", "category_id", "bbox")}, "no 'score'"),
        ({key: GOOD[key] for key in ("image_id", "category_id", "score")}, "no 'bbox'"),
        ({key: GOOD[key] for key in ("image_id", "bbox", "score")}, "no 'category_id'"),
        ({key: GOOD[key] for key in ("category_id", "bbox", "score")}, "no 'image_id'"),
        ({**GOOD, "image_id": 99}, "image_id 99 is not in the data"),
        ({**GOOD, "image_id": True}, "image_id True is no id"),
        ({**GOOD, "image_id": [7]}, "is no id"),
        ({**GOOD, "image_id": "c"}, "image_id 'c' is not in the data"),
        ({**GOOD, "file_name": "c.jpg"}, "file_name 'c.jpg' is not in the data"),
        ({**GOOD, "file_name": "a.jpg", "image_id": 99}, "of 2 images"),
        ({**GOOD, "file_name": 7}, "is no text"),
        ({**GOOD, "category_id": 2}, "category_id 2 is not in the data"),
        ({**GOOD, "category_id": 1.0}, "category_id 1.0"),
        ({**GOOD, "score": float("nan")}, "score holds nan"),
        ({**GOOD, "score": float("inf")}, "score holds inf"),
        ({**GOOD, "score": "0.5"}, "score holds '0.5'"),
        ({**GOOD, "score": 10**400}, "score holds 1000"),
        ({**GOOD, "score": True}, "score holds True"),
        ({**GOOD, "bbox": [1, 2, 3]}, "a list of 3"),
        ({**GOOD, "bbox": [1, 2, 3, None]}, "bbox holds None"),
        ({**GOOD, "bbox": [1, 2, -3, 4]}, "negative side -3"),
        ({**GOOD, "bbox": [1, 2, float("nan"), 4]}, "bbox holds nan"),
        ({**GOOD, "bbox": [1e39, 2, 3, 4]}, "bbox holds 1e+39"),
        ({**GOOD, "bbox": "1 2 3 4"}, "bbox holds '1 2 3 4'"),
    ],
)
def test_a_bad_entry_is_named_by_its_place(tmp_path: Path, entry: Any, message: str) -> None:
    with pytest.raises(EdgedetError) as caught:
        read(tmp_path, [GOOD, GOOD, entry])
    assert str(caught.value).startswith(f"{tmp_path / 'results.json'}: entry 2: ")
    assert message in caught.value.what
    assert caught.value.fix


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ('[{"image_id": 7,', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[" + "1" * 5000 + "]", "not valid JSON"),
        ('{"annotations": []}', "JSON object, not a list"),
        ('"results"', "JSON string, not a list"),
    ],
)
def test_a_file_that_is_no_results_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(EdgedetError, match=message):
        read(tmp_path, text)


def test_a_huge_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "RESULTS_LIMIT", 1000)
    with pytest.raises(EdgedetError, match="larger than"):
        read(tmp_path, [GOOD] * 100)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(EdgedetError, match="cannot read"):
        read_results(tmp_path / "none.json", SAMPLES, (1, 3))


def test_category_ids_count_from_one_where_the_data_has_none() -> None:
    plain = Dataset(Path(), "voc", ("a", "b"), {})
    assert category_ids(plain) == (1, 2)
    assert category_ids(Dataset(Path(), "coco", ("a", "b"), {}, category_ids=(18, 90))) == (18, 90)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.lists(st.floats(0, 4000, width=32), min_size=4, max_size=4),
            st.floats(0, 1),
            st.integers(0, 1),
        ),
        max_size=6,
    )
)
def test_what_is_written_is_read_back_without_loss(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    detections = []
    for index in range(3):
        mine = [row for row in rows if row[0] == index]
        corners = np.array([row[1] for row in mine], dtype=np.float32).reshape(-1, 2, 2)
        boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
        scores, labels = np.array([row[2] for row in mine]), np.array([row[3] for row in mine], dtype=np.int64)
        detections.append(Predictions(boxes, scores, labels))
    path = tmp_path_factory.mktemp("results") / "results.json"
    samples = [sample(f"/data/{index}.jpg", index + 100) for index in range(3)]
    write_results(path, samples, detections, (5, 2))
    for before, after in zip(detections, read_results(path, samples, (5, 2)), strict=True):
        np.testing.assert_array_equal(before.xyxy, after.xyxy)
        np.testing.assert_array_equal(before.score, after.score)
        np.testing.assert_array_equal(before.class_id, after.class_id)
