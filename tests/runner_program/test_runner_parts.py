"""Parts of the C++ runner: preprocessing bit for bit, allocations, live sources, benchmark, the C interface."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runner_programs import BUILD, NATIVE, REPOSITORY, RUNNER, Machine

from edgedet.bench.statistics import Statistics, statistics
from edgedet.deploy.golden import scene
from edgedet.errors import EdgedetError
from edgedet.files import sha256_file
from edgedet.runtime.load import load_detector
from edgedet.runtime.preprocess import preprocess
from edgedet.runtime.sources.csi import csi_pipeline, read_csi_address
from edgedet.spec import Preprocess

ORDERS = ("bgr", "rgb", "grey")


def tensors_of(machine: Machine, images: Sequence[tuple[np.ndarray, str, int, int, int]]) -> list[np.ndarray]:
    """By the C++ program: images with their orders, canvas sizes and bytes behind each row."""
    given = b""
    for image, order, height, width, padding in images:
        rows = image.reshape(len(image), -1)
        given += struct.pack("<6i", *image.shape[:2], ORDERS.index(order), height, width, padding)
        given += np.pad(rows, ((0, 0), (0, padding)), constant_values=77).tobytes()
    command = machine.command("tests/runner_preprocess_test", needs_library=False)
    done = subprocess.run(command, input=given, stdout=subprocess.PIPE, check=True, timeout=300)
    found = np.frombuffer(done.stdout, "<f4")
    sizes = [3 * height * width for _, _, height, width, _ in images]
    assert len(found) == sum(sizes)
    parts = np.split(found, np.cumsum(sizes)[:-1])
    return [part.reshape(3, *image[2:4]) for part, image in zip(parts, images, strict=True)]


def expected_tensor(image: np.ndarray, order: str, height: int, width: int) -> np.ndarray:
    """By the Python runtime."""
    channels = {"bgr": image, "rgb": image[..., ::-1], "grey": np.dstack([image] * 3)}[order]
    std = (1 / 255,) * 3
    spec = Preprocess.model_construct(height=height, width=width, mean=(0, 0, 0), std=std, pad_value=114)
    return preprocess(np.ascontiguousarray(channels), spec)[0]


def noise(height: int, width: int, order: str, seed: int) -> np.ndarray:
    shape = (height, width) if order == "grey" else (height, width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


SIZES = st.one_of(st.integers(1, 9), st.integers(1, 200))


@settings(max_examples=150)
@given(st.tuples(SIZES, SIZES), st.tuples(SIZES, SIZES), st.sampled_from(ORDERS), st.integers(0, 5), st.integers(0, 99))
def test_preprocessing_is_that_of_python_bit_for_bit(
    source: tuple[int, int], canvas: tuple[int, int], order: str, padding: int, seed: int
) -> None:
    image = noise(*source, order, seed)
    (found,) = tensors_of(NATIVE, [(image, order, *canvas, padding)])
    np.testing.assert_array_equal(found, expected_tensor(image, order, *canvas))


@pytest.mark.parametrize("order", ORDERS)
def test_sizes_with_ways_of_their_own(machine: Machine, order: str) -> None:
    """Halved exactly (where OpenCV takes means of four), unchanged, extreme and large ones."""
    sizes = [
        ((128, 192), (64, 96)),
        ((128, 191), (64, 96)),
        ((64, 96), (64, 96)),
        ((2, 2), (32, 32)),
        ((1, 1), (64, 96)),
        ((3000, 3), (96, 64)),
        ((2, 3001), (96, 64)),
        ((1080, 1920), (320, 320)),
        ((33, 47), (320, 416)),
    ]
    images = [(noise(*source, order, 0), order, *canvas, 3) for source, canvas in sizes]
    for found, (image, _, height, width, _) in zip(tensors_of(machine, images), images, strict=True):
        np.testing.assert_array_equal(found, expected_tensor(image, order, height, width))


def test_no_frame_allocates(models: Mapping[str, Path]) -> None:
    """What the backend allocates is counted apart: that of none would say that nothing was counted."""
    command = NATIVE.command("tests/runner_allocations_test")
    for name in ("float", "nms"):
        given = [*command, models[name], NATIVE.library, "5"]
        done = subprocess.run(given, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        own, of_backend, detections = (int(part.split()[-1]) for part in done.stdout.split(","))
        assert own == 0
        assert of_backend > 0
        assert detections > 0


def live(*words: object) -> list[str]:
    command = NATIVE.command("tests/runner_live_test", needs_library=False)
    return subprocess.run(
        [*command, *map(str, words)], capture_output=True, text=True, check=True, timeout=60
    ).stdout.splitlines()


CSI_ADDRESSES = ["csi:0", "csi://1", "CSI:12", "csi://0?width=1280&height=720&fps=30&flip=2", "csi:3?fps=60", "csi:0?"]
NO_CSI_ADDRESSES = [
    "csi:",
    "csi:x",
    "csi:123",
    "csi:0?zoom=2",
    "csi:0?fps=0",
    "csi:0?flip=8",
    "csi:0?w",
    "csi:0?fps=6!",
]


def test_csi_cameras_have_pythons_pipelines() -> None:
    command = NATIVE.command("tests/runner_csi_test", needs_library=False)
    done = subprocess.run([*command, *CSI_ADDRESSES], capture_output=True, text=True, check=True)
    expected = [csi_pipeline(camera) for text in CSI_ADDRESSES if (camera := read_csi_address(text)) is not None]
    assert done.stdout.splitlines() == expected and len(expected) == len(CSI_ADDRESSES)


@pytest.mark.parametrize("address", NO_CSI_ADDRESSES)
def test_what_is_no_csi_camera_is_refused_as_in_python(address: str) -> None:
    with pytest.raises(EdgedetError):
        read_csi_address(address)
    command = NATIVE.command("tests/runner_csi_test", needs_library=False)
    done = subprocess.run([*command, address], capture_output=True, text=True, check=True)
    assert address in done.stdout and "fix: write csi:0" in done.stdout and "nvarguscamerasrc" not in done.stdout


def test_a_camera_that_is_unplugged_and_plugged_in_again() -> None:
    lines = live("osfsfsfbxxosfsfb")
    assert lines[:5] == ["0 1 0", "1 2 0", "2 3 0", "3 4 0", "4 5 0"]
    assert lines[5] == "camera 0: broke off, and could not be opened again in 3 tries"
    assert lines[-1] == "5 frames came, 5 detected in, 0 dropped; lost and found again 1 times, 0.0 s away"


def test_a_camera_that_stays_unplugged_is_given_up() -> None:
    lines = live("osfbxxxxxxosf")
    assert lines[0] == "0 1 0"
    assert "in 3 tries" in lines[1]


def test_a_camera_that_never_was() -> None:
    assert live("xosf")[:2] == ["camera 0: cannot be opened", "  fix: plug it in"]


@pytest.mark.parametrize(("script", "fix"), [("h", "plug it in"), ("osfsbh", "plug it in again, then start again")])
def test_a_driver_that_hangs_is_given_up(script: str, fix: str) -> None:
    lines = live(script)
    assert lines[-3:-1] == ["camera 0: hangs: its driver has not answered for 1 s", f"  fix: {fix}"]


def test_old_frames_are_dropped_and_counted() -> None:
    """Eight frames come within a moment, and looking at one takes long: the newest one is next."""
    lines = live("osffffffff" + "s" * 20 + "f", 300)
    looked_at = [tuple(map(int, line.split())) for line in lines if len(line.split()) == 3]
    assert all(index == value - 1 for index, value, _ in looked_at)
    *_, (_, newest, dropped) = looked_at
    assert newest == 9
    assert dropped == 9 - len(looked_at) > 0


def test_the_benchmark_in_json(models: Mapping[str, Path]) -> None:
    done = NATIVE.run(
        models["float"], "--benchmark", "--json", "--iterations", 25, "--duration", 0.05, "--warmup-ms", 20
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kind"] == "runner-bench"
    assert found["model"]["sha256"] == sha256_file(models["float"])
    assert found["queries"] == len(found["latencies"]) >= 25
    assert found["warm_up_queries"] > 0
    assert found["settings"] == {
        "iterations": 25,
        "duration": 0.05,
        "warm_up": 20,
        "threads": 1,
        "input": "generated",
    }
    told, computed = Statistics.model_validate(found["latency"]), statistics(found["latencies"])
    assert told.percentiles == computed.percentiles
    for name in ("min", "max", "mean", "median", "variation"):
        assert getattr(told, name) == pytest.approx(getattr(computed, name), rel=1e-9)
    assert list(found["stages"]) == ["preprocess", "inference", "postprocess", "total"]
    for stage in found["stages"].values():
        assert 0 <= Statistics.model_validate(stage).median <= found["stages"]["total"]["max"]
    assert found["queries_per_second"] == pytest.approx(found["queries"] / found["wall_seconds"])


def test_the_benchmark_in_words(models: Mapping[str, Path], tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.ppm"), scene(50, 60, seed=0))
    done = NATIVE.run(models["float"], tmp_path / "a.ppm", "--benchmark", "--duration", 0.02, "--warmup-ms", 1)
    assert done.returncode == 0, done.stderr
    for words in ("=== Performance summary ===", "Throughput: ", "Latency: min = ", "percentile(99%) = ", "a.ppm"):
        assert words in done.stdout


C_PROGRAM = r"""
#include <stdio.h>
#include <string.h>
#include "edgedet/runner.h"

int main(int count, char** words) {
    edgedet_options options;
    edgedet_detector* detector = (edgedet_detector*)&options;
    const edgedet_detection* found;
    size_t n, i;
    int32_t height, width;
    static uint8_t pixels[64 * 96 * 3];
    edgedet_image image = {pixels, 64, 96, 96 * 3, EDGEDET_BGR};
    if (count != 3) return 9;
    edgedet_default_options(&options);
    options.onnxruntime = words[2];
    options.threads = 1;
    if (edgedet_open("missing.onnx", &options, &detector) != EDGEDET_BAD_INPUT || detector != NULL) return 3;
    printf("%s\n", edgedet_error());
    if (edgedet_open(words[1], &options, &detector) != EDGEDET_OK) return puts(edgedet_error()), 4;
    edgedet_input_size(detector, &height, &width);
    printf("%s %s %d %d %d\n", edgedet_version(), edgedet_backend(detector), (int)edgedet_class_count(detector),
           (int)height, (int)width);
    if (edgedet_class_name(detector, 99) != NULL || edgedet_class_name(detector, -1) != NULL) return 5;
    for (i = 0; i < sizeof pixels; ++i) pixels[i] = (uint8_t)(i * 7 % 251);
    if (edgedet_detect(detector, &image, &found, &n) != EDGEDET_OK) return puts(edgedet_error()), 6;
    for (i = 0; i < n; ++i)
        printf("%.9g %.9g %.9g %.9g %.9g %d\n", found[i].x1, found[i].y1, found[i].x2, found[i].y2, found[i].score,
               (int)found[i].class_id);
    image.stride = 10;
    if (edgedet_detect(detector, &image, &found, &n) != EDGEDET_BAD_INPUT || n != 0 || found != NULL) return 7;
    printf("%s\n", edgedet_error());
    if (edgedet_detect(detector, NULL, &found, &n) != EDGEDET_BAD_INPUT) return 8;
    edgedet_close(detector);
    edgedet_close(NULL);
    return 0;
}
"""


def test_the_c_interface(models: Mapping[str, Path], tmp_path: Path) -> None:
    """A program in C99 that knows the header and the shared library alone."""
    library = BUILD / "native" / RUNNER / "libedgedet_run.so"
    NATIVE.command("libedgedet_run.so")
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("there is no C compiler")
    (tmp_path / "program.c").write_text(C_PROGRAM)
    strict = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    paths = ["-I", str(REPOSITORY / RUNNER / "include"), str(library), f"-Wl,-rpath,{library.parent}"]
    subprocess.run([compiler, *strict, "program.c", *paths, "-o", "program"], cwd=tmp_path, check=True)
    done = subprocess.run(
        ["./program", models["float"], NATIVE.library], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "missing.onnx: no such model file"
    assert "the stride is shorter than a row" in lines[-1]
    pixels = (np.arange(64 * 96 * 3) * 7 % 251).astype(np.uint8).reshape(64, 96, 3)
    expected = load_detector(models["float"], threads=1).detect([pixels])[0]
    rows = np.array([line.split() for line in lines if len(line.split()) == 6 and line[0].isdigit()], np.float64)
    assert len(rows) == len(expected) > 0
    np.testing.assert_allclose(rows[:, :4], expected.xyxy, atol=1e-4)
    np.testing.assert_allclose(rows[:, 4], expected.score, atol=1e-6)
    np.testing.assert_array_equal(rows[:, 5], expected.class_id)
    exported = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True)
    names = {line.split()[-1] for line in exported.stdout.splitlines() if " T " in line}
    assert names
    assert all(name.startswith("edgedet_") for name in names), names
