"""Whole runs: what they leave, and what stops them."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from edgedet.config import load_yaml, parse
from edgedet.data.synth import synthesize
from edgedet.errors import CheckFailedError, EdgedetError
from edgedet.models.checkpoint import load_checkpoint, save_checkpoint
from edgedet.quant.calibrate import fit_to_noise
from edgedet.runtime.load import load_detector
from edgedet.train.config import TrainConfig
from edgedet.train.loop import resume, train
from edgedet.train.reporter import SilentReporter


class Listener(SilentReporter):
    def __init__(self) -> None:
        self.messages: list[str] = []
        self.steps = 0

    def message(self, text: str) -> None:
        self.messages.append(text)

    def step(self, epoch: int, loss: float) -> None:
        self.steps += 1


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    folder = tmp_path_factory.mktemp("run")
    values = {"data": str(tiny_data), "model": "shufflenetv2_0.5x", "imgsz": 64, "epochs": 2, "batch": 4}
    train(parse(TrainConfig, {**values, "workers": 0, "tensorboard": True}), folder)
    return folder


def test_a_run_leaves_its_files(finished: Path) -> None:
    assert {path.name for path in finished.iterdir()} >= {
        "best.pt",
        "last.pt",
        "config.yaml",
        "versions.json",
        "metrics.jsonl",
        "curves.png",
        "precision_recall.png",
        "predictions.png",
        "tensorboard",
    }
    assert not list(finished.glob(".*"))


def test_metrics_have_one_line_an_epoch(finished: Path) -> None:
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    parts = [line["loss_classification"] + line["loss_box"] + line["loss_distribution"] for line in lines]
    np.testing.assert_allclose([line["loss"] for line in lines], parts, rtol=1e-5)
    assert all(line["map"] is not None for line in lines)


def test_the_configuration_is_kept_whole(finished: Path, tiny_data: Path) -> None:
    config = parse(TrainConfig, load_yaml(finished / "config.yaml"))
    assert config.data == str(tiny_data)
    assert config.optimizer == TrainConfig(data="x").optimizer


def test_pictures_can_be_looked_at(finished: Path) -> None:
    for name in ("curves.png", "precision_recall.png", "predictions.png"):
        picture = cv2.imread(str(finished / name))
        assert picture is not None and min(picture.shape[:2]) > 200
        assert picture.std() > 5


def test_the_best_checkpoint_is_for_inference_and_the_last_for_resuming(finished: Path) -> None:
    assert load_checkpoint(finished / "best.pt").training is None
    assert load_checkpoint(finished / "last.pt").training is not None
    detector = load_detector(finished / "best.pt")
    assert len(detector.detect([np.zeros((50, 70, 3), np.uint8)])) == 1


def test_a_loss_that_is_not_finite_stops_with_the_images_names(settings: dict[str, Any], tmp_path: Path) -> None:
    settings["optimizer"] = {"lr": 1e30, "warmup_epochs": 0}
    with pytest.raises(
        CheckFailedError, match=r"not finite at step \d+; the batch's images: 0000\d\d\.jpg, "
    ) as caught:
        train(parse(TrainConfig, settings), tmp_path)
    assert caught.value.exit_code == 1
    names = caught.value.what.partition("images: ")[2].split(", ")
    assert len(names) == len(set(names)) > settings["batch"], "those that mosaics took besides are named too"


def test_empty_images_train_as_background(tmp_path: Path) -> None:
    data = tmp_path / "data"
    synthesize(data, images=6, classes=2, size=64, format="coco", splits={"train": 4, "val": 2})
    for file in data.glob("annotations/*train*.json"):
        content = json.loads(file.read_text())
        file.write_text(json.dumps({**content, "annotations": []}))
    values = {"data": str(data), "model": "shufflenetv2_0.5x", "imgsz": 64, "epochs": 2, "batch": 2, "workers": 0}
    result = train(parse(TrainConfig, values), tmp_path / "run")
    assert result.records[-1]["loss_box"] == 0
    assert result.records[-1]["loss"] < result.records[0]["loss"]


def test_bad_boxes_are_left_out_with_one_line(settings: dict[str, Any], tiny_data: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    synthesize(data, images=13, classes=2, size=64, format="coco", seed=1, splits={"train": 10, "val": 3})
    file = next(data.glob("annotations/*train*.json"))
    content = json.loads(file.read_text())
    content["annotations"][0]["bbox"] = [10, 10, 0, 5]
    content["annotations"][1]["bbox"] = [500, 500, 20, 20]
    file.write_text(json.dumps(content))
    listener = Listener()
    train(parse(TrainConfig, {**settings, "data": str(data), "epochs": 1}), tmp_path / "run", reporter=listener)
    assert listener.steps == 3
    assert len([line for line in listener.messages if "left out" in line]) == 1


def yolo_data(folder: Path) -> Path:
    data = folder / "data"
    synthesize(data, images=13, classes=2, size=64, format="yolo", seed=1, splits={"train": 10, "val": 3})
    return data


def test_labels_that_cannot_be_read_are_told_with_one_line(settings: dict[str, Any], tmp_path: Path) -> None:
    data = yolo_data(tmp_path)
    first, second, third, *_ = sorted(data.glob("labels/train/*.txt"))
    first.write_bytes(b"0 .5 .5 .2 .2 \xff")
    second.unlink()
    third.write_text("0 0.5\n")
    listener = Listener()
    train(parse(TrainConfig, {**settings, "data": str(data), "epochs": 1}), tmp_path / "run", reporter=listener)
    (line,) = (line for line in listener.messages if "not understood" in line)
    assert line.startswith("train: ")
    assert all(kind in line for kind in ("1 broken-annotation", "1 image-without-labels", "1 malformed-box"))


def test_a_class_out_of_range_is_refused_with_its_place(settings: dict[str, Any], tmp_path: Path) -> None:
    data = yolo_data(tmp_path)
    file = sorted(data.glob("labels/train/*.txt"))[1]
    file.write_text("0 .5 .5 .2 .2\n7 .5 .5 .2 .2\n")
    with pytest.raises(EdgedetError, match="class 7 is out of range") as caught:
        train(parse(TrainConfig, {**settings, "data": str(data)}), tmp_path / "run")
    assert caught.value.where == f"labels/train/{file.name}:2"
    assert not (tmp_path / "run").exists()


def test_broken_validation_images_do_not_end_a_run(settings: dict[str, Any], tmp_path: Path) -> None:
    data = yolo_data(tmp_path)
    truncated, damaged, _ = sorted(data.glob("images/val/*.jpg"))
    truncated.write_bytes(truncated.read_bytes()[:-100])
    noise = bytearray(damaged.read_bytes())
    noise[300:-2] = b"\x00" * (len(noise) - 302)
    damaged.write_bytes(bytes(noise))
    listener = Listener()
    result = train(
        parse(TrainConfig, {**settings, "data": str(data), "epochs": 2}), tmp_path / "run", reporter=listener
    )
    assert len(result.records) == 2
    assert [line for line in listener.messages if line.startswith("val: left out 1 image that cannot be read")]
    assert (tmp_path / "run" / "predictions.png").exists()


def test_a_device_that_is_not_there_costs_an_old_run_nothing(
    finished: Path, settings: dict[str, Any], tmp_path: Path
) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    with pytest.raises(EdgedetError, match="cannot run on 1 x cuda") as caught:
        train(parse(TrainConfig, {**settings, "accelerator": "cuda"}), run, overwrite=True)
    assert caught.value.exit_code == 2
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_float16_is_refused_on_a_cpu(settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(EdgedetError, match="needs a GPU") as caught:
        train(parse(TrainConfig, {**settings, "accelerator": "cpu", "precision": "16-mixed"}), tmp_path / "run")
    assert "bf16-mixed" in str(caught.value.fix)
    assert not (tmp_path / "run").exists()


def test_a_run_keeps_the_threads_and_the_data_that_it_was_started_with(
    settings: dict[str, Any], tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_data.parent)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(3)))
    with pytest.raises(KeyboardInterrupt):
        train(parse(TrainConfig, {**settings, "data": tiny_data.name}), tmp_path, reporter=Stopping())
    config = load_yaml(tmp_path / "config.yaml")
    assert config["data"] == str(tiny_data)
    assert config["threads"] == 2
    monkeypatch.chdir("/")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(9)))
    assert len(resume(tmp_path).records) == 3
    assert torch.get_num_threads() == 2


class Stopping(SilentReporter):
    def step(self, epoch: int, loss: float) -> None:
        os.kill(os.getpid(), signal.SIGINT)


def test_a_full_disk_at_the_start_leaves_nothing(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 197760 vs 197656")

    monkeypatch.setattr("torch.save", full)
    with pytest.raises(EdgedetError, match="cannot write the checkpoint") as caught:
        train(parse(TrainConfig, settings), tmp_path / "run")
    assert "enforce" not in str(caught.value)
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"imgsz": 8224}, "above 8192"),
        ({"imgsz": 0}, "not a multiple of 32"),
        ({"imgsz": 100}, "not a multiple of 32"),
        ({"model": "shufflenet_1.0x"}, "unknown model"),
        ({"activation": "gelu"}, "unknown activation"),
        ({"val_split": "dev"}, "dev"),
        ({"data": "/nowhere"}, "nowhere"),
        ({"batch": 3, "devices": 2}, "cannot be shared"),
        ({"batch": 1}, "BatchNorm cannot learn"),
        ({"weights": "/nowhere.pth"}, "nowhere.pth"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_written(
    settings: dict[str, Any], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(EdgedetError, match=message):
        train(parse(TrainConfig, {**settings, **change}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_with_a_run_is_not_overwritten_by_accident(finished: Path, settings: dict[str, Any]) -> None:
    before = (finished / "last.pt").read_bytes()
    with pytest.raises(EdgedetError, match="already holds a run"):
        train(parse(TrainConfig, settings), finished)
    assert (finished / "last.pt").read_bytes() == before


def test_a_checkpoint_starts_a_run_with_other_classes(finished: Path, settings: dict[str, Any], tmp_path: Path) -> None:
    data = tmp_path / "data"
    synthesize(data, images=8, classes=3, size=64, format="yolo", splits={"train": 4, "val": 2})
    config = parse(TrainConfig, {**settings, "data": str(data), "epochs": 1, "optimizer": {"lr": 1e-9}})
    train(config, tmp_path / "run", init=finished / "best.pt")
    started = load_checkpoint(tmp_path / "run" / "best.pt").detector.state_dict()
    source = load_checkpoint(finished / "best.pt").detector.state_dict()
    name = "backbone.stage2.0.branch1.2.weight"
    np.testing.assert_allclose(started[name].numpy(), source[name].numpy(), atol=1e-5)
    assert len(started["head.outputs.0.bias"]) == len(source["head.outputs.0.bias"]) + 1


def test_a_quantized_checkpoint_cannot_start_a_float_run(
    finished: Path, settings: dict[str, Any], tmp_path: Path
) -> None:
    checkpoint = load_checkpoint(finished / "best.pt")
    quantized = fit_to_noise(checkpoint.float_detector, checkpoint.spec.preprocess)
    save_checkpoint(tmp_path / "int8.pt", quantized, checkpoint.spec)
    with pytest.raises(EdgedetError, match="quantized already"):
        train(parse(TrainConfig, settings), tmp_path / "run", init=tmp_path / "int8.pt")
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_another_architecture_cannot_start_a_run(
    finished: Path, settings: dict[str, Any], tmp_path: Path
) -> None:
    config = parse(TrainConfig, {**settings, "model": "mobilenetv2_0.35"})
    with pytest.raises(EdgedetError, match="cannot start a mobilenetv2"):
        train(config, tmp_path / "run", init=finished / "best.pt")
