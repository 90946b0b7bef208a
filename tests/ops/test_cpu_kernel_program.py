"""The CPU kernels without Python around it: as it was built here, and cross-compiled for ARM, which is emulated."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgedet.ops.diou_nms import DIoUNMS, reference
from edgedet.ops.mish.native import mish

BUILD = Path(__file__).resolve().parents[2] / "build"
COMMANDS = {"native": [], "aarch64": ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"]}


@pytest.fixture(params=COMMANDS)
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def program(machine: str) -> list[str]:
    return command_of("diou_nms_test", machine)


def command_of(name: str, machine: str) -> list[str]:
    path, command = BUILD / machine / name, COMMANDS[machine]
    if not path.exists():
        pytest.skip(f"{path} is not built: make operators, or make aarch64")
    if command and shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]}")
    return [*command, str(path)]


def kept_by(program: list[str], boxes: np.ndarray, scores: np.ndarray, attributes: DIoUNMS) -> np.ndarray:
    numbers = struct.pack(
        "<5q3d",
        *scores.shape,
        attributes.pre_nms_top_k,
        attributes.max_detections,
        attributes.class_agnostic,
        attributes.score_threshold,
        attributes.iou_threshold,
        attributes.beta,
    )
    given = numbers + boxes.astype("<f4").tobytes() + scores.astype("<f4").tobytes()
    done = subprocess.run(program, input=given, stdout=subprocess.PIPE, check=True, timeout=300)
    return np.frombuffer(done.stdout, "<u4")


@pytest.mark.parametrize(
    "attributes",
    [DIoUNMS(), DIoUNMS(iou_threshold=0.2, beta=0.6, class_agnostic=True), DIoUNMS(0.0, 0.5, 1.0, 10**6, 10**6)],
)
@pytest.mark.parametrize("scale", [1.0, 1e-20, 1e30])
def test_it_keeps_what_the_reference_keeps(program: list[str], attributes: DIoUNMS, scale: float) -> None:
    rng = np.random.default_rng(0)
    corners = rng.random((700, 2)) * 200
    boxes = (np.concatenate([corners, corners + rng.random((700, 2)) * 50], axis=1) * scale).astype(np.float32)
    scores = (rng.integers(0, 100, (700, 3)) / 100).astype(np.float32)
    scores[::50] = np.nan
    kept = kept_by(program, boxes, scores, attributes)
    expected_boxes, expected_scores, expected_classes = reference.diou_nms(boxes, scores, attributes)
    assert len(kept) > 50
    np.testing.assert_array_equal(boxes[kept // 3], expected_boxes)
    np.testing.assert_array_equal(scores.ravel()[kept], expected_scores)
    np.testing.assert_array_equal(kept % 3, expected_classes)


def test_of_input_that_ends_early_nothing_is_made(program: list[str]) -> None:
    done = subprocess.run(program, input=b"\0" * 20, stdout=subprocess.PIPE, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, b"")


def test_mish_is_that_of_the_python_module(machine: str) -> None:
    """To a few units in the last place: ARM contracts other products."""
    values = np.linspace(-90, 30, 100_001, dtype=np.float32)
    command = command_of("mish_test", machine)
    done = subprocess.run(command, input=values.tobytes(), stdout=subprocess.PIPE, check=True, timeout=300)
    np.testing.assert_allclose(np.frombuffer(done.stdout, "<f4"), mish(values), rtol=1e-6, atol=1.5e-36)
