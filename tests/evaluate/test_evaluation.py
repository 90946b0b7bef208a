"""Evaluation of a network whose detections are known: it finds every coloured cell exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tiny_onnx import CELL, SPEC, picture, write_tiny_model
from typer.testing import CliRunner

from edgedet.cli.app import app
from edgedet.data.find import read_dataset, split_of
from edgedet.errors import EdgedetError
from edgedet.evaluate.analysis import Wanted
from edgedet.evaluate.run import class_order, evaluate, evaluate_model, evaluate_results
from edgedet.runtime.load import load_detector

CELLS = [
    [((8, 8), "red"), ((40, 16), "blue")],
    [((0, 0), "green")],
    [],
    [((56, 56), "red"), ((24, 24), "green"), ((0, 32), "blue")],
]
CATEGORY = {"blue": 5, "red": 7, "green": 2}


def write_data(folder: Path, *, missed: bool = False) -> Path:
    """A COCO dataset; with `missed`, a labelled red cell that is not in its picture."""
    folder.mkdir()
    images, notes = [], []
    for number, cells in enumerate(CELLS):
        rectangles = [((x, y, x + CELL, y + CELL), name) for (x, y), name in cells]
        assert cv2.imwrite(str(folder / f"{number}.png"), picture(64, 64, *rectangles))
        images.append({"id": number + 10, "file_name": f"{number}.png", "height": 64, "width": 64})
        labelled = [*cells, ((48, 0), "red")] if missed and number == 0 else cells
        notes += [
            {
                "image_id": number + 10,
                "category_id": CATEGORY[name],
                "bbox": [*corner, CELL, CELL],
                "area": CELL * CELL,
                "iscrowd": 0,
            }
            for corner, name in labelled
        ]
    content = {
        "images": images,
        "annotations": [{**note, "id": number} for number, note in enumerate(notes, 1)],
        "categories": [{"id": number, "name": name} for name, number in CATEGORY.items()],
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data") / "coco")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx", batch="batch")


def test_classes_are_matched_by_name_and_everything_is_found(model: Path, data: Path) -> None:
    evaluation = evaluate_model(model, data)
    assert evaluation.images == 4
    assert evaluation.metrics.map == pytest.approx(1)
    assert {one.name: one.objects for one in evaluation.metrics.classes} == {"blue": 2, "red": 2, "green": 2}
    assert evaluation.speed is not None and evaluation.speed.inference > 0


def test_a_missed_object_costs_recall(model: Path, tmp_path: Path) -> None:
    metrics = evaluate_model(model, write_data(tmp_path / "missed", missed=True)).metrics
    red = next(one for one in metrics.classes if one.name == "red")
    assert red.objects == 3
    assert red.ap == pytest.approx(67 / 101)  # precision 1 up to recall 2/3
    assert metrics.ar100 == pytest.approx((2 / 3 + 1 + 1) / 3)


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_the_batch_does_not_matter(model: Path, data: Path, batch: int) -> None:
    batches: list[Any] = []

    def watch(items: Any, description: str) -> Any:
        batches.extend(items)
        return items

    dataset = read_dataset(data)
    samples = split_of(dataset, next(iter(dataset.splits)))
    evaluation = evaluate(load_detector(model), samples, dataset.class_names, batch=batch, track=watch)
    assert evaluation.metrics.map == pytest.approx(1)
    assert len(batches) == -(-4 // batch)
    assert [len(one.score) for one in evaluation.detections] == [2, 1, 0, 3]


def test_faint_detections_are_counted_whatever_the_models_own_threshold(tmp_path: Path) -> None:
    data = write_data(tmp_path / "faint")
    for path in data.parent.glob("*.png"):
        cv2.imwrite(str(path), cv2.imread(str(path)) // 20)
    strict = write_tiny_model(tmp_path / "strict.onnx", batch="batch", metadata=SPEC.to_json())
    evaluation = evaluate_model(strict, data)
    assert evaluation.metrics.map == pytest.approx(1)
    assert max(one.score.max() for one in evaluation.detections if len(one.score)) < SPEC.postprocess.score_threshold


def test_saved_predictions_score_the_same(model: Path, data: Path, tmp_path: Path) -> None:
    evaluation = evaluate_model(model, data, save_predictions=tmp_path / "new" / "results.json", plots=tmp_path)
    again = evaluate_results(tmp_path / "new" / "results.json", data, plots=tmp_path / "plots")
    assert again.metrics == evaluation.metrics
    assert again.speed is None
    assert {path.name for path in tmp_path.iterdir()} == {"new", "plots", "precision_recall.png"}


def test_what_is_not_asked_for_is_not_worked_out(model: Path, data: Path) -> None:
    result = evaluate_model(model, data).to_dict()
    assert not {"voc", "f1", "confusion", "errors", "pictures"} & set(result)


def test_what_is_asked_for_is_worked_out_of_a_model_and_of_its_results_alike(model: Path, tmp_path: Path) -> None:
    data = write_data(tmp_path / "missed", missed=True)
    everything = Wanted(voc=True, f1=True, confusion=True, errors=True, confusion_score=0.5)
    direct = evaluate_model(model, data, wanted=everything, save_predictions=tmp_path / "results.json")
    scored = evaluate_results(tmp_path / "results.json", data, wanted=everything)
    result = direct.to_dict()
    assert result["voc"]["map_all_point"] == pytest.approx((2 / 3 + 1 + 1) / 3)
    assert result["f1"]["all"]["recall"] == pytest.approx((2 / 3 + 1 + 1) / 3)
    assert result["confusion"]["score_threshold"] == 0.5
    assert [one["count"] for one in result["errors"]["causes"]] == [0, 0, 0, 0, 0, 1]
    assert scored.analysis.to_dict() == direct.analysis.to_dict()


def test_the_pictures_are_those_of_what_was_asked_for(model: Path, data: Path, tmp_path: Path) -> None:
    evaluation = evaluate_model(model, data, plots=tmp_path / "plots", wanted=Wanted(voc=True, f1=True))
    assert [path.name for path in evaluation.pictures] == ["precision_recall.png", "f1.png"]
    assert set(evaluation.pictures) == set((tmp_path / "plots").iterdir())


def test_other_classes_are_refused_and_both_lists_shown() -> None:
    np.testing.assert_array_equal(class_order(["a", "b", "c"], ["c", "a", "b"]), [1, 2, 0])
    with pytest.raises(EdgedetError, match=r"the model has 2 \(cat, dog\); the data has 2 \(cat, horse\)"):
        class_order(["cat", "dog"], ["cat", "horse"])
    with pytest.raises(EdgedetError, match=r"the model has 1 \(cat\); the data has 2"):
        class_order(["cat"], ["cat", "cat"])


def test_an_output_that_cannot_be_written_is_found_before_the_work(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EdgedetError, match="cannot write"):
        evaluate_model(tmp_path / "missing.onnx", data, save_predictions=tmp_path / "file" / "results.json")


def test_a_broken_image_is_named(model: Path, tmp_path: Path) -> None:
    data = write_data(tmp_path / "broken")
    (data.parent / "1.png").write_bytes((data.parent / "1.png").read_bytes()[:50])
    with pytest.raises(EdgedetError) as caught:
        evaluate_model(model, data)
    assert "1.png" in str(caught.value)


class TestCommand:
    def run(self, *args: object, code: int = 0) -> str:
        result = CliRunner().invoke(app, ["eval", *map(str, args)])
        assert result.exit_code == code, result.output
        return result.stdout if code == 0 else result.stderr

    def test_json(self, model: Path, data: Path) -> None:
        result = json.loads(self.run(model, data, "--json"))
        assert result["map50"] == pytest.approx(1)
        assert result["map_large"] is None
        assert set(result["speed_ms_per_image"]) == {"preprocess", "inference", "postprocess"}

    def test_a_table_for_each_class_and_size(self, model: Path, data: Path) -> None:
        printed = self.run(model, data, "--speed")
        lines = {words[0]: words[1:] for words in map(str.split, printed.splitlines()) if words}
        assert lines["green"] == ["2", "1.0000", "1.0000"]
        assert lines["all"] == ["6", "1.0000", "1.0000"]
        assert lines["small"] == ["1.0000", "1.0000"]
        assert lines["large"] == ["-", "-"]
        assert "inference" in printed

    def test_a_results_file_needs_no_model(self, model: Path, data: Path, tmp_path: Path) -> None:
        self.run(model, data, "--save-predictions", tmp_path / "results.json")
        result = json.loads(self.run("--predictions", tmp_path / "results.json", data, "--json"))
        assert result["map"] == pytest.approx(1)
        assert result["speed_ms_per_image"] is None

    def test_everything_is_printed_and_drawn(self, model: Path, tmp_path: Path) -> None:
        data = write_data(tmp_path / "missed", missed=True)
        printed = self.run(model, data, "--all", "--plots", tmp_path / "plots")
        lines = [line.split() for line in printed.splitlines() if line]
        assert ["missed", "1", "0.1122"] in lines
        assert "all detections that AP counts, a model's down to a score of 0.001" in printed
        assert ["red", "3", "0.6364", "0.6667"] in lines
        assert ["red", "2", "0", "1", "0"] in lines
        for name in ("precision_recall", "f1", "confusion", "errors", "worst_errors"):
            assert f"drawn: {tmp_path / 'plots' / name}.png" in printed
            assert (tmp_path / "plots" / f"{name}.png").is_file()

    def test_json_holds_what_was_asked_for(self, model: Path, data: Path) -> None:
        result = json.loads(self.run(model, data, "--voc", "--confusion", "--score", "0.4", "--json"))
        assert result["voc"]["map_11_point"] == pytest.approx(1)
        assert result["confusion"]["score_threshold"] == 0.4
        assert "errors" not in result and "f1" not in result

    def test_a_confusion_is_named(self, data: Path, tmp_path: Path) -> None:
        wrong = [{"image_id": 11, "category_id": CATEGORY["red"], "bbox": [0, 0, CELL, CELL], "score": 0.9}]
        (tmp_path / "results.json").write_text(json.dumps(wrong))
        printed = self.run("--predictions", tmp_path / "results.json", data, "--confusion", "--errors")
        lines = [line.split() for line in printed.splitlines()]
        assert ["green", "red", "1"] in lines
        assert ["classification", "1"] in [words[:2] for words in lines]

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (["DATA"], "1 paths given"),
            (["MODEL", "DATA", "--predictions", "results.json"], "2 paths given"),
            (["DATA", "--predictions", "results.json", "--threads", "1"], "--threads needs a model"),
            (["DATA", "--predictions", "results.json", "--save-predictions", "x"], "--save-predictions needs a model"),
            (["MODEL", "DATA", "--split", "nosuch"], "no split 'nosuch'"),
            (["MODEL", "DATA", "--errors", "--score", "0.5"], "--score needs --confusion"),
            (["DATA", "--predictions", "nosuch.json"], "cannot read"),
        ],
    )
    def test_wrong_use(self, model: Path, data: Path, args: list[str], message: str) -> None:
        paths = {"MODEL": model, "DATA": data}
        assert message in self.run(*[paths.get(arg, arg) for arg in args], code=2)
