from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from edgedet.errors import EdgedetError
from edgedet.runtime.results import Detection, Detections


@pytest.fixture
def found() -> Detections:
    return Detections(
        xyxy=np.array([[1, 2, 30, 40], [5, 6, 7, 8], [10, 10, 20, 20]], np.float32),
        score=np.array([0.9, 0.5, 0.25], np.float32),
        class_id=np.array([1, 0, 1], np.int64),
        names=("cat", "dog"),
    )


def test_iterates_over_plain_records_best_first(found: Detections) -> None:
    records = list(found)
    assert len(found) == len(records) == 3
    assert records[1] == Detection((5.0, 6.0, 7.0, 8.0), 0.5, 0, "cat")
    assert found[-1].name == "dog"
    assert found.name == ["dog", "cat", "dog"]


@pytest.mark.parametrize("index", [slice(0, 2), [0, 1], np.array([True, True, False])])
def test_slices_masks_and_lists_give_detections(found: Detections, index: object) -> None:
    part = found[index]
    assert part.name == ["dog", "cat"]
    assert part.xyxy.shape == (2, 4)


def test_an_index_beyond_the_end_is_an_error(found: Detections) -> None:
    with pytest.raises(IndexError):
        found[3]


def test_records_survive_json(found: Detections) -> None:
    read = json.loads(json.dumps(found.to_dicts()))
    assert read[0]["xyxy"] == [1, 2, 30, 40]
    assert {key: read[2][key] for key in ("score", "class_id", "name")} == {
        "score": 0.25,
        "class_id": 1,
        "name": "dog",
    }


def test_supervision_gets_copies(found: Detections) -> None:
    supervision = pytest.importorskip("supervision")
    other = found.to_supervision()
    assert isinstance(other, supervision.Detections)
    np.testing.assert_array_equal(other.xyxy, found.xyxy)
    np.testing.assert_array_equal(other.confidence, found.score)
    np.testing.assert_array_equal(other.class_id, found.class_id)
    assert other.data["class_name"].tolist() == ["dog", "cat", "dog"]
    other.xyxy[:] = 0
    assert found.xyxy[0, 2] == 30


def test_supervision_takes_no_detections_at_all(found: Detections) -> None:
    pytest.importorskip("supervision")
    assert len(found[:0].to_supervision()) == 0


def test_without_supervision_the_error_says_how_to_get_it(found: Detections, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(EdgedetError) as caught:
        found.to_supervision()
    assert caught.value.fix == "pip install supervision"


def test_plot_draws_on_a_copy(found: Detections) -> None:
    image = np.full((60, 60, 3), 128, np.uint8)
    drawn = found.plot(image)
    assert (image == 128).all()
    assert drawn.shape == image.shape
    assert (drawn[2:41, 1:31] != 128).any()
