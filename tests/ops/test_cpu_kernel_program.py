"""The CPU kernels without Python around it: as it was built here, and cross-compiled for ARM, which is emulated."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgedet.ops.diou_nms import DIoUNMS, reference
from edgedet.ops.gated_conv.definition import GatedConv, Granularity
from edgedet.ops.gated_conv.reference import gated_conv
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


GRANULARITIES: tuple[Granularity, ...] = ("element", "pixel", "tile")


@pytest.mark.parametrize("largest", [7, 64, 127])
@pytest.mark.parametrize(("low_bits", "lowest", "highest"), [(4, 0, 255), (4, -128, 127), (8, -32768, 32639)])
def test_every_kernel_of_a_gated_convolution_gives_what_the_reference_gives(
    machine: str, low_bits: int, lowest: int, highest: int, largest: int
) -> None:
    """Scales are 1, and sums too small to be rounded; of the largest weights there are the most that fit."""
    command = command_of("gated_conv_test", machine)
    rng = np.random.default_rng(0)
    names = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60, text=True).stdout.split()
    assert names[-1] == "plain"
    for place, granularity in enumerate(GRANULARITIES):
        gate = GatedConv(low_bits, lowest, highest, granularity, tile=3)
        side, padding, stride, groups = (3, 1, 2, 2) if place == 1 else (1, 0, 1, 1)
        outputs, inputs, height, width = 10, 70 // groups, 13, 17
        codes = rng.choice([lowest, highest, *rng.integers(lowest, highest, 20)], (1, inputs * groups, height, width))
        weights = rng.choice([-largest, largest, 0, 5], (outputs, inputs, side, side))
        thresholds = (rng.normal(0, 3 * largest * highest, outputs).round() + 0.5).astype(np.float32)
        signs = rng.choice([-1.0, 1.0], outputs).astype(np.float32)
        sizes = (gate.step, lowest, highest, place, 3, stride, padding, groups, outputs, inputs, side, height, width)
        bias = rng.integers(-999, 1000, outputs).astype(np.float32)
        floats = [np.ones(1 + outputs), thresholds, signs, bias]
        given = struct.pack("<13q", *sizes) + b"".join(part.astype("<f4").tobytes() for part in floats)
        given += weights.astype(np.int8).tobytes() + codes.astype("<f4").tobytes()
        convolution = {"stride": stride, "padding": padding, "groups": groups}
        expected, _ = gated_conv(gate, codes, weights, thresholds.astype(np.float64), signs, **convolution)
        for name in names:
            done = subprocess.run([*command, name], input=given, stdout=subprocess.PIPE, check=True, timeout=300)
            found = np.frombuffer(done.stdout, "<f4").reshape(expected.shape)
            biased = expected.astype(np.float32) + bias[:, None, None]
            np.testing.assert_array_equal(found, biased, err_msg=f"{name}, {granularity}")
