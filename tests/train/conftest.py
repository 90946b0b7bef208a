"""A dataset so small that a whole training takes seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgedet.config import parse
from edgedet.data.synth import synthesize
from edgedet.train.config import TrainConfig


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated images, 10 to train on and 3 to validate with, two classes, 64 pixels a side."""
    folder = tmp_path_factory.mktemp("tiny") / "data"
    synthesize(folder, images=13, classes=2, size=64, format="coco", seed=1, splits={"train": 10, "val": 3})
    return folder


@pytest.fixture
def settings(tiny_data: Path) -> dict[str, Any]:
    """Three epochs of three steps."""
    return {
        "data": str(tiny_data),
        "model": "shufflenetv2_0.5x",
        "imgsz": 64,
        "epochs": 3,
        "batch": 4,
        "workers": 0,
        "eval_every": 2,
    }


@pytest.fixture
def config(settings: dict[str, Any]) -> TrainConfig:
    """The settings, parsed."""
    return parse(TrainConfig, settings)
