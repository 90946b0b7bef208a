"""The self-test: Python writes golden files, the C++ runner finds the same; here and on emulated ARM."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from runner_programs import AARCH64, NATIVE, Machine, decoder

from edgedet.deploy.golden import GoldenFile, default_images, write_golden
from edgedet.errors import EdgedetError
from edgedet.runtime.load import load_detector


@pytest.fixture(scope="module")
def golden(models: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each of the models."""
    folder = tmp_path_factory.mktemp("golden")
    for name, path in models.items():
        written = write_golden(path, folder / name)
        assert written.detections > 20
        assert all(file.is_file() for file in written.files)
    return {name: folder / name for name in models}


@pytest.fixture(autouse=True)
def _png() -> None:
    if decoder() == "none":
        pytest.skip("edgedet-run was built with neither OpenCV nor stb")


@pytest.mark.parametrize("name", ["float", "free", "nms", "two", "int8"])
def test_the_runner_finds_what_python_finds(
    machine: Machine, models: Mapping[str, Path], golden: dict[str, Path], name: str
) -> None:
    done = machine.run(models[name], "--selftest", golden[name])
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 11
    assert all(line.startswith("ok ") for line in lines[:10])
    assert lines[-1].startswith("10 of 10 images as in Python (onnxruntime ")


def test_the_default_images_try_every_way(models: Mapping[str, Path]) -> None:
    size = load_detector(models["float"], threads=1).spec.preprocess
    images = default_images(size)
    shapes = {name: image.shape[:2] for name, image in images.items()}
    assert shapes["single"] == (1, 1)
    assert shapes["huge"] == (3000, 4000)
    assert shapes["half"] == (2 * size.height, 2 * size.width)
    assert shapes["same"] == (size.height, size.width)
    assert images["grey"].ndim == 2
    assert shapes["odd"][0] % 2 == shapes["odd"][1] % 2 == 1
    assert shapes["enlarged"][0] < size.height
    again = default_images(size)
    assert all(np.array_equal(images[name], again[name]) for name in images)


def test_golden_files_are_the_same_every_time_and_small(models: Mapping[str, Path], tmp_path: Path) -> None:
    first = write_golden(models["float"], tmp_path / "a", tensors=False)
    second = write_golden(models["float"], tmp_path / "b", tensors=False)
    assert [file.read_bytes() for file in first.files] == [file.read_bytes() for file in second.files]
    assert sum(file.stat().st_size for file in first.files) < 500_000
    document = GoldenFile.model_validate(_renamed(json.loads((tmp_path / "a" / "golden.json").read_text())))
    assert all(image.input is None for image in document.images)


def _renamed(document: dict) -> dict:
    for image in document["images"]:
        for detection in image["detections"]:
            detection["class_"] = detection.pop("class")
    return document


def changed(folder: Path, to: Path, change) -> Path:
    shutil.copytree(folder, to)
    document = json.loads((to / "golden.json").read_text())
    change(document)
    (to / "golden.json").write_text(json.dumps(document))
    return to


def _move_a_box(document: dict) -> None:
    next(image for image in document["images"] if image["detections"])["detections"][0]["box"][0] += 1.0


def _lose_a_detection(document: dict) -> None:
    next(image for image in document["images"] if image["detections"])["detections"].pop()


def _swap_classes(document: dict) -> None:
    found = next(image for image in document["images"] if image["detections"])["detections"][0]
    found["class"] = 1 - found["class"]


def _lie_about_the_size(document: dict) -> None:
    document["images"][0]["width"] += 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_move_a_box, "instead of class"),
        (_lose_a_detection, "detections instead of"),
        (_swap_classes, "instead of class"),
        (_lie_about_the_size, "instead of 641x480"),
    ],
)
def test_a_difference_is_told(
    models: Mapping[str, Path], golden: dict[str, Path], tmp_path: Path, change: object, said: str
) -> None:
    done = NATIVE.run(models["float"], "--selftest", changed(golden["float"], tmp_path / "golden", change))
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert said in line
    assert "9 of 10 images as in Python" in done.stdout


def test_other_pixels_are_told_by_the_tensor(
    models: Mapping[str, Path], golden: dict[str, Path], tmp_path: Path
) -> None:
    folder = changed(golden["float"], tmp_path / "golden", lambda _: None)
    image = cv2.imread(str(folder / "same.png"))
    image[5, 5] ^= 1
    cv2.imwrite(str(folder / "same.png"), image)
    done = NATIVE.run(models["float"], "--selftest", folder)
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert line.startswith("FAIL  same.png 96x64: the network's input differs by up to 0.01")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda document: document.update(version=2), "version is out of its range"),
        (lambda document: document["images"][0].update(image="../secret.png"), "not the name of a file in the folder"),
        (lambda document: document["images"][0].update(input="/etc/passwd"), "not the name of a file in the folder"),
        (lambda document: document["images"][0].update(image="missing.png"), "cannot read the file"),
        (lambda document: document["images"][0].update(input_sha256="0" * 64), "its SHA-256 is not the one"),
        (lambda document: document.update(images=[]), "it holds no image"),
        (lambda document: document.pop("tolerances"), "has no tolerances"),
    ],
)
def test_golden_files_that_are_none(
    models: Mapping[str, Path], golden: dict[str, Path], tmp_path: Path, change: object, said: str
) -> None:
    done = NATIVE.run(models["float"], "--selftest", changed(golden["float"], tmp_path / "golden", change))
    assert done.returncode == 2
    assert said in done.stderr


def test_images_of_the_callers_own(models: Mapping[str, Path], tmp_path: Path) -> None:
    pictures = {"mine": default_images(load_detector(models["float"]).spec.preprocess)["odd"]}
    written = write_golden(models["float"], tmp_path / "golden", images=pictures)
    assert [file.name for file in written.files] == ["mine.png", "mine.input", "golden.json"]
    assert NATIVE.run(models["float"], "--selftest", tmp_path / "golden").returncode == 0
    with pytest.raises(EdgedetError, match="no name for an image"):
        write_golden(models["float"], tmp_path / "other", images={"../mine": pictures["mine"]})


def test_arm_and_this_machine_detect_the_same(models: Mapping[str, Path], golden: dict[str, Path]) -> None:
    """FP32 and INT8, with ONNX Runtimes of two versions."""
    for name in ("float", "int8"):
        images = [golden[name] / f"{image}.png" for image in ("scene", "odd", "half")]
        here, there = (machine.run(models[name], *images) for machine in (NATIVE, AARCH64))
        assert here.returncode == there.returncode == 0, here.stderr + there.stderr
        pairs = zip(here.stdout.splitlines(), there.stdout.splitlines(), strict=True)
        for one, other in ((json.loads(one), json.loads(other)) for one, other in pairs):
            assert len(one["detections"]) == len(other["detections"]) > 0
            for found, expected in zip(other["detections"], one["detections"], strict=True):
                assert found["class_id"] == expected["class_id"]
                assert found["score"] == pytest.approx(expected["score"], abs=1e-4)
                assert found["xyxy"] == pytest.approx(expected["xyxy"], abs=2e-3)
