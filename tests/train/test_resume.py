"""A run that is cut off and resumed ends like one that was not, bit for bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from edgedet.config import parse
from edgedet.errors import EdgedetError
from edgedet.models.checkpoint import load_checkpoint
from edgedet.train.config import TrainConfig
from edgedet.train.loop import resume, train
from edgedet.train.reporter import SilentReporter

KILLED_RUN = Path(__file__).with_name("killed_run.py")
TIMES = {"seconds", "eval_seconds", "images_per_second"}


def run_until_killed(folder: Path, settings: dict[str, Any], steps: int, init: Path | None = None) -> None:
    command = [sys.executable, str(KILLED_RUN), str(folder), json.dumps(settings), str(steps)]
    command += [] if init is None else [str(init)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert finished.returncode == -signal.SIGKILL, finished.stderr


def flat(value: Any, name: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {key: leaf for part, item in value.items() for key, leaf in flat(item, f"{name}/{part}").items()}
    if isinstance(value, list):
        return flat(dict(enumerate(value)), name)
    return {name: value}


def final_state(folder: Path) -> dict[str, Any]:
    """Everything a run leaves but its times."""
    last, best = load_checkpoint(folder / "last.pt"), load_checkpoint(folder / "best.pt")
    assert last.training is not None
    training = {key: value for key, value in last.training.items() if key != "progress"}
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    metrics = [{key: value for key, value in line.items() if key not in TIMES} for line in lines]
    return flat(
        {
            "training": training,
            "best_map": last.training["progress"]["best_map"],
            "step": last.training["progress"]["step"],
            "last": last.detector.state_dict(),
            "best": best.detector.state_dict(),
            "metrics": metrics,
        }
    )


def assert_same_end(first: Path, second: Path) -> None:
    a, b = final_state(first), final_state(second)
    assert a.keys() == b.keys()
    different = [
        name
        for name in a
        if not (torch.equal(a[name], b[name]) if isinstance(a[name], torch.Tensor) else a[name] == b[name])
    ]
    assert different == []


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whole")
    train(parse(TrainConfig, {**BASE, "data": str(tiny_data)}), folder)
    return folder


BASE: dict[str, Any] = {
    "model": "shufflenetv2_0.5x",
    "imgsz": 64,
    "epochs": 3,
    "batch": 4,
    "workers": 0,
    "eval_every": 2,
    "multi_scale": 0.5,
    "checkpoint_every": 2,
}
QAT_BASE = {**BASE, "model": "squeezenet_1.1", "multi_scale": 0.0}


@pytest.mark.parametrize(
    ("killed_after", "workers"),
    [
        pytest.param(1, 0, id="before the first checkpoint"),
        pytest.param(4, 2, id="in the middle of an epoch, two workers"),
        pytest.param(7, 1, id="in the last epoch, one worker"),
    ],
)
def test_a_killed_run_ends_as_if_it_had_not_been_killed(
    uninterrupted: Path, tiny_data: Path, tmp_path: Path, killed_after: int, workers: int
) -> None:
    settings = {**BASE, "data": str(tiny_data), "workers": workers}
    run_until_killed(tmp_path, settings, killed_after)
    resume(tmp_path)
    assert_same_end(uninterrupted, tmp_path)


def test_the_states_compared_would_differ_with_another_seed(
    uninterrupted: Path, tiny_data: Path, tmp_path: Path
) -> None:
    train(parse(TrainConfig, {**BASE, "data": str(tiny_data), "seed": 1}), tmp_path)
    with pytest.raises(AssertionError):
        assert_same_end(uninterrupted, tmp_path)


@pytest.fixture(scope="module")
def float_best(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    folder = tmp_path_factory.mktemp("float")
    train(parse(TrainConfig, {**QAT_BASE, "data": str(tiny_data), "epochs": 1}), folder)
    return folder / "best.pt"


@pytest.mark.parametrize(
    ("qat", "killed_after"),
    [
        pytest.param({"method": "lsq"}, 4, id="lsq, in the middle of an epoch"),
        pytest.param({"method": "pact"}, 7, id="pact, with everything held"),
        pytest.param({"method": "observed"}, 5, id="observed, after the statistics were held"),
        pytest.param(
            {"pg": {"share": 0.5, "granularity": "pixel"}}, 4, id="with gates where a share of them was placed"
        ),
    ],
)
def test_a_killed_quantization_aware_run_ends_as_if_it_had_not_been_killed(
    tiny_data: Path, tmp_path: Path, float_best: Path, qat: dict[str, Any], killed_after: int
) -> None:
    settings = {**QAT_BASE, "data": str(tiny_data), "qat": qat}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(parse(TrainConfig, settings), whole, init=float_best)
    # The teacher is the run's own copy: the checkpoint that it came from may be gone.
    moved = tmp_path / "moved.pt"
    shutil.copy(float_best, moved)
    run_until_killed(killed, settings, killed_after, moved)
    moved.unlink()
    resume(killed)
    assert_same_end(whole, killed)


def test_a_killed_run_with_dropblock_and_a_teacher_ends_as_if_it_had_not_been_killed(
    float_best: Path, tiny_data: Path, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    teacher = tmp_path / "teacher.pt"
    shutil.copy(float_best, teacher)
    settings = {
        **BASE,
        "data": str(tiny_data),
        "multi_scale": 0.0,
        "network": {"dropblock": 0.3, "dropblock_size": 2},
        "teacher": {"checkpoint": str(teacher)},
    }
    train(parse(TrainConfig, settings), tmp_path / "whole")
    run_until_killed(tmp_path / "killed", settings, 5)
    teacher.unlink()
    resume(tmp_path / "killed")
    assert_same_end(tmp_path / "whole", tmp_path / "killed")
    line = json.loads((tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()[-1])
    assert line["loss_teacher_classification"] > 0 and line["loss_teacher_localisation"] > 0


class InterruptingReporter(SilentReporter):
    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self, epoch: int, loss: float) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_loses_no_step(uninterrupted: Path, tiny_data: Path, tmp_path: Path) -> None:
    settings = {**BASE, "data": str(tiny_data), "checkpoint_every": None}
    with pytest.raises(KeyboardInterrupt):
        train(parse(TrainConfig, settings), tmp_path, reporter=InterruptingReporter(5))
    training = load_checkpoint(tmp_path / "last.pt").training
    assert training is not None and training["progress"]["step"] == 5
    resume(tmp_path)
    assert_same_end(uninterrupted, tmp_path)


def test_resuming_a_finished_run_changes_nothing(uninterrupted: Path, tmp_path: Path) -> None:
    shutil.copytree(uninterrupted, tmp_path / "run")
    resume(tmp_path / "run")
    assert_same_end(uninterrupted, tmp_path / "run")


def test_changed_data_is_refused(tiny_data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "data"
    subprocess.run(["cp", "-r", str(tiny_data), str(copy)], check=True)
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(parse(TrainConfig, {**BASE, "data": str(copy)}), run, reporter=InterruptingReporter(2))
    annotations = next(copy.glob("annotations/*train*.json"))
    content = json.loads(annotations.read_text())
    content["annotations"][0]["bbox"][0] += 1
    annotations.write_text(json.dumps(content))
    with pytest.raises(EdgedetError, match="changed since the run began"):
        resume(run)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgedetError, match="no run to resume"):
        resume(tmp_path)


def test_a_truncated_checkpoint_is_refused_and_left_alone(uninterrupted: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    subprocess.run(["cp", "-r", str(uninterrupted), str(run)], check=True)
    whole = (run / "last.pt").read_bytes()
    (run / "last.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EdgedetError, match="truncated"):
        resume(run)
    assert (run / "last.pt").stat().st_size == len(whole) // 2
