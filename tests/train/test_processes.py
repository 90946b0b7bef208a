"""A run over several processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from edgedet.models.checkpoint import load_checkpoint
from edgedet.models.quantized.detector import QuantizedDetector

pytestmark = pytest.mark.slow
EPOCHS = 8


def start(*options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "edgedet", "train", *map(str, options), "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def new_run(data: Path, out: Path) -> subprocess.Popen[str]:
    settings = ["--model", "shufflenetv2_0.5x", "--imgsz", 64, "--epochs", EPOCHS, "--batch", 4, "--workers", 0]
    return start(data, *settings, "--devices", 2, "--out", out)


def last_weights(run: Path) -> dict[str, Any]:
    return load_checkpoint(run / "last.pt").detector.state_dict()


def test_two_processes_train_one_detector_and_an_interrupt_of_one_stops_both(tiny_data: Path, tmp_path: Path) -> None:
    whole = new_run(tiny_data, tmp_path / "whole")
    stdout, stderr = whole.communicate(timeout=300)
    assert whole.returncode == 0, stderr
    assert json.loads(stdout)["last_epoch"]["epoch"] == EPOCHS, "one result on stdout, not one a process"
    assert len((tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()) == EPOCHS

    cut = new_run(tiny_data, tmp_path / "cut")
    assert cut.stderr is not None
    for line in cut.stderr:
        if line.startswith("epoch 1:"):
            break
    cut.send_signal(signal.SIGINT)
    _, stderr = cut.communicate(timeout=300)
    assert cut.returncode == 130, stderr
    assert len((tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()) < EPOCHS

    resumed = start("--resume", tmp_path / "cut")
    _, stderr = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, stderr
    torch.testing.assert_close(
        last_weights(tmp_path / "cut"), last_weights(tmp_path / "whole"), rtol=0, atol=0, equal_nan=False
    )


def test_two_processes_train_one_quantized_detector(tiny_data: Path, tmp_path: Path) -> None:
    settings = ["--imgsz", 64, "--batch", 4, "--workers", 0, "--epochs", 2]
    whole = start(tiny_data, "--model", "squeezenet_1.1", *settings, "--out", tmp_path / "float")
    _, stderr = whole.communicate(timeout=300)
    assert whole.returncode == 0, stderr
    learned = ["--init", tmp_path / "float" / "best.pt", "--qat", "--set", "qat.method=observed", "--devices", 2]
    ran = start(tiny_data, *settings, *learned, "--out", tmp_path / "int8")
    _, stderr = ran.communicate(timeout=300)
    assert ran.returncode == 0, stderr
    assert len((tmp_path / "int8" / "metrics.jsonl").read_text().splitlines()) == 2
    trained = load_checkpoint(tmp_path / "int8" / "last.pt").detector
    assert isinstance(trained, QuantizedDetector) and trained.recipe.trained == "observed"
