"""How many processes a run has, and that it learns the same with any number of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from edgedet.config import parse
from edgedet.errors import EdgedetError
from edgedet.models.checkpoint import load_checkpoint
from edgedet.models.zoo import build_detector
from edgedet.train.config import TrainConfig
from edgedet.train.processes import Processes, processes
from edgedet.train.run import Data, check_settings, require_same_data


def torchrun(per_machine: int, total: int) -> dict[str, str]:
    """What torchrun tells a process."""
    return {"TORCHELASTIC_RUN_ID": "none", "LOCAL_WORLD_SIZE": str(per_machine), "WORLD_SIZE": str(total)}


class TestProcesses:
    def test_without_torchrun_there_is_one_for_each_device(self) -> None:
        assert processes(3, {}) == Processes(per_machine=3, machines=1)

    def test_the_processes_that_a_run_starts_itself_are_not_taken_for_those_of_torchrun(self) -> None:
        assert processes(2, {"WORLD_SIZE": "2", "LOCAL_RANK": "1", "NODE_RANK": "0"}) == Processes(2)

    @pytest.mark.parametrize("devices", [1, 4])
    def test_torchrun_decides(self, devices: int) -> None:
        found = processes(devices, torchrun(per_machine=4, total=12))
        assert found == Processes(per_machine=4, machines=3)
        assert found.total == 12

    def test_another_number_of_devices_than_torchrun_started_is_refused(self) -> None:
        with pytest.raises(EdgedetError, match="torchrun started 4 processes on this machine, not 2") as caught:
            processes(2, torchrun(per_machine=4, total=4))
        assert caught.value.fix is not None and "--nproc-per-node 2" in caught.value.fix

    def test_machines_with_different_numbers_of_processes_are_refused(self) -> None:
        with pytest.raises(EdgedetError, match="machines differ"):
            processes(1, torchrun(per_machine=2, total=3))


def test_a_batch_that_the_processes_of_all_machines_cannot_share_is_refused(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in torchrun(per_machine=2, total=8).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(EdgedetError, match="a batch of 12 cannot be shared by 8 devices"):
        check_settings(parse(TrainConfig, {**settings, "batch": 12}))
    check_settings(parse(TrainConfig, {**settings, "batch": 16}))


def test_one_image_a_process_is_enough_where_several_share_a_batch(settings: dict[str, Any]) -> None:
    check_settings(parse(TrainConfig, {**settings, "batch": 2, "devices": 2}))
    with pytest.raises(EdgedetError, match="BatchNorm cannot learn"):
        check_settings(parse(TrainConfig, {**settings, "batch": 1, "devices": 1}))


class TwoProcesses:
    """The second of two processes, as `require_same_data` sees it."""

    device = torch.device("cpu")

    def __init__(self, fingerprint: str, first_agrees: bool) -> None:
        self._fingerprint = fingerprint
        self._first_agrees = first_agrees

    def broadcast(self, _: str) -> str:
        return self._fingerprint

    def all_reduce(self, value: Tensor, reduce_op: str) -> Tensor:
        assert reduce_op == "mean"
        return (value + float(self._first_agrees)) / 2


def test_machines_with_other_images_end_the_run_everywhere() -> None:
    data = Data((), (), ("a",), fingerprint="1")
    require_same_data(TwoProcesses("1", first_agrees=True), data, "data")  # type: ignore[arg-type]
    for fabric in (TwoProcesses("2", first_agrees=True), TwoProcesses("1", first_agrees=False)):
        with pytest.raises(EdgedetError, match="different training images"):
            require_same_data(fabric, data, "data")  # type: ignore[arg-type]


def finish(launcher: list[str], data: Path, out: Path, *options: object) -> Path:
    """A run of three steps, all images in each."""
    settings = ["--model", "shufflenetv2_0.5x", "--imgsz", 64, "--epochs", 3, "--batch", 10, "--workers", 0]
    # AdamW's first steps have the gradients' signs alone, and what is 0 but for rounding has either sign.
    sgd = ["--set", "optimizer.name=sgd", "--set", "optimizer.lr=0.001", "--set", "eval_every=3"]
    command = [sys.executable, *launcher, "-m", "edgedet", "train", data, *settings, *sgd, *options, "--out", out]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(list(map(str, command)), stderr=subprocess.PIPE, text=True, env=environment, timeout=600)
    assert ran.returncode == 0, ran.stderr
    return out


def learned(run: Path) -> Tensor:
    """The difference of a run's last and first parameters, in a row."""
    checkpoint = load_checkpoint(run / "last.pt")
    torch.manual_seed(0)
    first = build_detector("shufflenetv2_0.5x", len(checkpoint.spec.class_names))
    last = checkpoint.training["model"]
    return torch.cat([(last[name] - value.detach()).flatten() for name, value in first.named_parameters()])


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def alone(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process."""
    return finish([], tiny_data, tmp_path_factory.mktemp("alone") / "run")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "options"),
    [
        ([], ["--devices", 2]),
        (["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"], []),
    ],
    ids=["devices", "torchrun"],
)
def test_two_processes_learn_what_one_does(
    alone: Path, tiny_data: Path, tmp_path: Path, launcher: list[str], options: list[object]
) -> None:
    shared = finish(launcher, tiny_data, tmp_path / "run", *options)
    expected = learned(alone)
    # Single precision knows the gradients of a random network to some hundredths.
    assert (learned(shared) - expected).norm() < 0.1 * expected.norm()
    assert losses(shared) == pytest.approx(losses(alone), rel=1e-3)


@pytest.mark.slow
def test_two_processes_gate_as_one_does(tiny_data: Path, tmp_path: Path) -> None:
    """Thresholds start on the same images, and losses are the same."""
    squeezenet = ["--model", "squeezenet_1.1"]  # hardly trained, its gradients stay finite
    trained = finish([], tiny_data, tmp_path / "float", *squeezenet)
    gating = ["--init", trained / "last.pt", "--pg", "--set", "optimizer.warmup_epochs=0"]
    one, two = (
        finish([], tiny_data, tmp_path / str(devices), *squeezenet, *gating, "--devices", devices) for devices in (1, 2)
    )
    assert losses(two) == pytest.approx(losses(one), rel=1e-2)
    # Gradients cannot be compared: behind rounding, a millionth of an image's contrast changes them altogether.
    states = [load_checkpoint(run / "last.pt").training["model"] for run in (one, two)]
    names = [name.removesuffix("threshold") for name in states[0] if name.endswith("gate.threshold")]
    assert len(names) > 15
    started = [torch.cat([state[f"{name}resting"] for name in names]) for state in states]
    moved = [torch.cat([state[f"{name}threshold"] - state[f"{name}resting"] for name in names]) for state in states]
    assert torch.equal(*started)
    assert 0.5 < float(moved[1].norm() / moved[0].norm()) < 2
