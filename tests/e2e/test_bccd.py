"""The main job on real images: blood cells, trained briefly, through every verb."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest

pytestmark = pytest.mark.slow


def edgedet(*arguments: object, exit_code: int = 0) -> Any:
    """What a verb prints with `--json`."""
    command = [sys.executable, "-m", "edgedet", *map(str, arguments), "--json"]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    assert finished.returncode == exit_code, finished.stderr
    return json.loads(finished.stdout)


@pytest.fixture(scope="module")
def run(bccd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 8 epochs at half the usual side."""
    folder = tmp_path_factory.mktemp("bccd") / "run"
    result = edgedet(
        *("train", bccd, "--model", "shufflenetv2_0.5x", "--imgsz", 160, "--epochs", 8, "--batch", 8, "--out", folder),
        *("--set", "eval_every=8", "--set", "close_mosaic_epochs=2"),
    )
    assert result["best_map"] > 0.1
    return folder


@pytest.fixture(scope="module")
def onnx_file(run: Path, bccd: Path) -> Path:
    """The exported run."""
    export = edgedet("export", run / "best.pt", "--data", bccd)
    assert export["agreement"]["box_error"] < 0.05
    assert export["agreement"]["score_error"] < 1e-3
    return Path(export["path"])


def test_check_finds_the_known_faults(bccd: Path) -> None:
    faults = edgedet("data", "check", bccd, exit_code=1)
    assert json.dumps(faults).count("zero-area") >= 2


def test_checkpoint_and_onnx_file_reach_the_same_map(run: Path, onnx_file: Path, bccd: Path) -> None:
    checkpoint, exported = (edgedet("eval", file, bccd, "--split", "test") for file in (run / "best.pt", onnx_file))
    assert checkpoint["images"] == exported["images"] == 72
    assert checkpoint["map50"] > 0.3
    for name in ("map", "map50", "map75"):
        assert checkpoint[name] == pytest.approx(exported[name], abs=1e-3)


def test_predictions_are_drawn_and_told(onnx_file: Path, bccd: Path, tmp_path: Path) -> None:
    image = bccd / "JPEGImages" / "BloodImage_00007.jpg"
    found = edgedet("predict", onnx_file, image, "--out", tmp_path, "--score", "0.2")
    assert {one["name"] for one in found["detections"]} & {"RBC", "WBC", "Platelets"}
    drawn = cv2.imread(str(tmp_path / "BloodImage_00007.jpg"))
    assert drawn is not None and drawn.shape == (480, 640, 3)


def test_results_files_score_like_the_model_that_wrote_them(onnx_file: Path, bccd: Path, tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    direct = edgedet("eval", onnx_file, bccd, "--split", "test", "--save-predictions", results)
    scored = edgedet("eval", "--predictions", results, bccd, "--split", "test")
    assert scored["map"] == pytest.approx(direct["map"], abs=1e-3)


def test_latency_is_measured_with_its_protocol(onnx_file: Path) -> None:
    found = edgedet("bench", onnx_file, "--iterations", 20)
    latency = found["latency"]
    assert 0 < latency["min"] <= latency["median"] <= latency["percentiles"]["99.0"]
    assert found["protocol"]["settings"]["threads"] == 1
