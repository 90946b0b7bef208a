"""Runs with other networks, losses, augmentation and teachers than the default ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgedet.config import parse
from edgedet.data.synth import synthesize
from edgedet.errors import EdgedetError
from edgedet.models.checkpoint import load_checkpoint
from edgedet.runtime.load import load_detector
from edgedet.train.config import TrainConfig
from edgedet.train.loop import train
from edgedet.train.run import check_settings

TINY = {"model": "shufflenetv2_0.5x", "imgsz": 96, "epochs": 2, "batch": 6, "workers": 0, "threads": 1, "eval_every": 2}
EVERYTHING: dict[str, Any] = {
    "network": {"spp": True, "se": True, "dropblock": 0.2, "dropblock_size": 2},
    "loss": {"assigner": "tal", "classification": "vfl", "box": "ciou", "negatives": "hard", "repulsion_weight": 0.5},
    "augment": {
        "mosaic": 0.5,
        "split": 0.5,
        "mixup": 0.5,
        "cutmix": 0.5,
        "cutout": 0.5,
        "random_erasing": 0.5,
        "gridmask": 0.5,
        "colour_operation": 0.5,
        "rotate": 10,
        "shear": 5,
        "scale_aware": True,
    },
    "activation": "swish_beta",
}


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """The run of a teacher with every switch on."""
    folder = tmp_path_factory.mktemp("everything") / "run"
    train(parse(TrainConfig, {"data": str(tiny_data), **TINY, **EVERYTHING}), folder)
    return folder


def test_all_switches_go_together(everything: Path) -> None:
    line = json.loads((everything / "metrics.jsonl").read_text().splitlines()[-1])
    assert line["loss"] == pytest.approx(
        line["loss_classification"] + line["loss_box"] + line["loss_distribution"] + line["loss_repulsion"], rel=1e-5
    )
    architecture = load_checkpoint(everything / "best.pt").detector.architecture
    assert {name: architecture[name] for name in ("spp", "se", "dropblock", "activation")} == {
        "spp": True,
        "se": True,
        "dropblock": 0.2,
        "activation": "swish_beta",
    }
    assert load_detector(everything / "best.pt").spec.class_names


@pytest.mark.parametrize("head", ["fcos", "ssdlite", "yolo"])
def test_every_head_can_be_trained(head: str, tiny_data: Path, tmp_path: Path) -> None:
    settings = {"data": str(tiny_data), **TINY, "epochs": 1, "network": {"head": head}}
    result = train(parse(TrainConfig, settings), tmp_path)
    assert result.records[-1]["map"] is not None
    assert (
        load_checkpoint(tmp_path / "best.pt" if result.best_map else tmp_path / "last.pt").detector.architecture["head"]
        == head
    )


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"network": {"head": "yolo"}, "loss": {"box": "ciou"}}, "the loss of the head yolo has no settings: loss.box"),
        ({"network": {"dropblock": 0.1}, "imgsz": 128}, "has 4 cells a side, a block 7"),
        ({"network": {"dropblock": 0.1}, "imgsz": 256, "multi_scale": 0.5}, "at 128 pixels"),
        ({"teacher": {"checkpoint": "x.pt"}, "qat": {}}, "has the float detector as its teacher"),
        ({"teacher": {"checkpoint": "x.pt", "classification": 0, "localisation": 0}}, "weights are all 0"),
        ({"loss": {"label_smoothing": 0.1}}, "does not go with loss.classification=qfl"),
    ],
    ids=["loss of another head", "small map", "small map at times", "two teachers", "idle teacher", "smoothed quality"],
)
def test_what_does_not_go_together_is_refused_at_the_start(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(EdgedetError, match=reason):
        check_settings(parse(TrainConfig, {"data": "x", **settings}))


def test_labels_of_one_class_are_not_smoothed(tmp_path: Path) -> None:
    synthesize(tmp_path / "data", images=4, classes=1, size=64, format="coco", seed=1, splits={"train": 3, "val": 1})
    settings = {"data": str(tmp_path / "data"), **TINY, "loss": {"classification": "bce", "label_smoothing": 0.1}}
    with pytest.raises(EdgedetError, match="dataset of one class"):
        train(parse(TrainConfig, settings), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_another_head_cannot_start_a_run(everything: Path, tiny_data: Path, tmp_path: Path) -> None:
    settings = {"data": str(tiny_data), **TINY, "network": {"head": "fcos"}}
    with pytest.raises(EdgedetError, match="built in another way"):
        train(parse(TrainConfig, settings), tmp_path / "run", init=everything / "best.pt")
    assert not (tmp_path / "run").exists()
