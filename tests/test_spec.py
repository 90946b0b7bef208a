from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from edgedet.errors import EdgedetError
from edgedet.spec import Postprocess, Preprocess, Spec, spec_from_json

SPEC = Spec(
    model="mobilenetv2_0.5",
    class_names=("cell", "weiße [Zelle]"),
    strides=(8, 16, 32),
    preprocess=Preprocess(height=320, width=416),
)


def changed(**changes: Any) -> str:
    """The specification as JSON with some values replaced; `preprocess__height` reaches inside."""
    values = json.loads(SPEC.to_json())
    for key, value in changes.items():
        *parents, last = key.split("__")
        node = values
        for parent in parents:
            node = node[parent]
        node[last] = value
    return json.dumps(values)


def test_json_round_trip() -> None:
    text = SPEC.to_json()
    assert "\n" not in text
    assert spec_from_json(text) == SPEC


def test_json_holds_every_setting_that_another_runtime_needs() -> None:
    assert json.loads(SPEC.to_json()) == {
        "version": 1,
        "task": "detect",
        "model": "mobilenetv2_0.5",
        "class_names": ["cell", "weiße [Zelle]"],
        "strides": [8, 16, 32],
        "preprocess": {
            "height": 320,
            "width": 416,
            "resize": "letterbox",
            "pad_position": "bottom_right",
            "pad_value": 114,
            "interpolation": "linear",
            "color": "rgb",
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
        },
        "postprocess": {
            "score_threshold": 0.25,
            "iou_threshold": 0.6,
            "beta": 1.0,
            "pre_nms_top_k": 1000,
            "max_detections": 300,
            "class_agnostic": False,
        },
        "random_weights": False,
    }


def test_it_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        SPEC.model = "other"  # type: ignore[misc]


def test_postprocessing_changes_make_a_copy_and_none_changes_nothing() -> None:
    changed_spec = SPEC.with_postprocess(score_threshold=0.001, iou_threshold=None)
    assert changed_spec.postprocess == Postprocess(score_threshold=0.001)
    assert SPEC.postprocess == Postprocess()
    assert changed_spec.preprocess == SPEC.preprocess


@pytest.mark.parametrize("changes", [{"score_threshold": 1.5}, {"max_detections": 0}, {"scor_threshold": 0.1}])
def test_wrong_postprocessing_changes_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(EdgedetError) as caught:
        SPEC.with_postprocess(**changes)
    assert next(iter(changes)) in caught.value.what


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"version": 2}, "version"),
        ({"task": "segment"}, "task"),
        ({"class_names": []}, "class_names"),
        ({"class_names": "cell"}, "class_names"),
        ({"strides": []}, "strides"),
        ({"strides": [0]}, "strides.0"),
        ({"strides": [8, -16]}, "strides.1"),
        ({"preprocess__height": 0}, "preprocess.height"),
        ({"preprocess__height": 1 << 40}, "preprocess.height"),
        ({"preprocess__resize": "stretch"}, "preprocess.resize"),
        ({"preprocess__std": [0.2, 0.0, 0.2]}, "std must be above 0"),
        ({"preprocess__mean": [0.5, 0.5]}, "preprocess.mean"),
        ({"preprocess__mean": [0.5, 0.5, float("nan")]}, "preprocess.mean.2"),
        ({"postprocess__beta": float("inf")}, "postprocess.beta"),
        ({"postprocess__max_detections": 10**9}, "postprocess.max_detections"),
        ({"preprocess": None}, "preprocess"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_hostile_specification_is_one_error_naming_the_key(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(EdgedetError, match=r"^model\.onnx: ") as caught:
        spec_from_json(changed(**changes), where="model.onnx")
    assert named in caught.value.what
    assert "Value error" not in str(caught.value)


def test_a_misspelt_key_is_answered_with_the_nearest() -> None:
    with pytest.raises(EdgedetError) as caught:
        spec_from_json(changed(preprocess__heigth=3))
    assert caught.value.fix == "did you mean 'height'?"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "1", '"spec"', "[" * 100_000, '{"version": ' + "9" * 5000 + "}", "{}"]
)
def test_text_that_is_no_specification(text: str) -> None:
    with pytest.raises(EdgedetError, match=r"^model\.onnx: "):
        spec_from_json(text, where="model.onnx")
