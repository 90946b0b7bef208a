"""On a machine with a GPU and TensorRT: `pytest -m tensorrt`. Nothing here runs without.

The detectors are exported here where PyTorch is, else they are read from the folder that EDGEDET_TEST_MODELS names:
`python tests/tensorrt_models.py FOLDER` writes it on another machine. EDGEDET_OPERATORS names edgedet's library of
plugins (`make cuda TENSORRT_INCLUDE_DIR=...`).
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgedet.bench.runners.tensorrt import TensorRTRunner, Zero
from edgedet.boxes import pairwise_iou
from edgedet.data.synth import synthesize
from edgedet.runtime.backends.tensorrt import TensorRTBackend
from edgedet.runtime.load import load_detector

pytestmark = [
    pytest.mark.tensorrt,
    pytest.mark.skipif(find_spec("tensorrt") is None and "tensorrt" not in sys.modules, reason="there is no TensorRT"),
]

OPERATORS = os.environ.get("EDGEDET_OPERATORS")
TRTEXEC = shutil.which("trtexec") or shutil.which("/usr/src/tensorrt/bin/trtexec")
PRECISIONS = {"float": ("fp32", "fp16"), "int8": ("int8", "fp16")}
CASES = [(model, precision) for model, precisions in PRECISIONS.items() for precision in precisions]


def edgedet(*arguments: object) -> dict[str, Any]:
    """The JSON of a command that ends well."""
    command = [sys.executable, "-m", "edgedet", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def refusal(*arguments: object) -> str:
    """What a command says that is refused."""
    command = [sys.executable, "-m", "edgedet", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if given := os.environ.get("EDGEDET_TEST_MODELS"):
        return Path(given)
    if find_spec("torch") is None:
        pytest.skip("there is no PyTorch to export with, and EDGEDET_TEST_MODELS is not set")
    from tensorrt_models import write_models

    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "shapes"
    synthesize(folder, images=30, size=96, classes=3)
    return folder


@pytest.fixture(scope="module")
def pictures(images: Path) -> list[np.ndarray]:
    return [cv2.imread(str(path)) for path in sorted((images / "images" / "val").glob("*"))]


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def engine(request: pytest.FixtureRequest, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built, which compares it with ONNX Runtime, in each precision."""
    model, precision = request.param
    out = tmp_path_factory.mktemp("engine") / f"{model}-{precision}.engine"
    built = edgedet("build", models / f"{model}.onnx", "--precision", precision, "--out", out)
    assert built["unheld"] == []
    return out


@pytest.fixture(scope="module")
def float16(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("engine") / "m.engine"
    edgedet("build", models / "float.onnx", "--out", out)
    return out


def test_it_finds_what_onnx_runtime_finds(engine: Path, models: Path, pictures: list[np.ndarray]) -> None:
    name = "float" if engine.name.startswith("float") else "int8"
    expected = load_detector(models / f"{name}.onnx").detect(pictures)
    found = load_detector(engine).detect(pictures)
    best = [(one, other) for one, other in zip(expected, found, strict=True) if len(one.score)]
    overlaps = [pairwise_iou(one.xyxy[:1], other.xyxy).max() for one, other in best]
    assert np.mean(np.array(overlaps) > 0.8) >= 0.9


def test_every_run_gives_the_same_by_graph_and_without(engine: Path, pictures: list[np.ndarray]) -> None:
    detector = load_detector(engine)
    tensor, _ = detector.preprocess(pictures[:1])
    first = detector.run(tensor)  # enqueued; behind it the graph is captured
    assert detector.backend.settings["cuda_graph"] is True
    other, _ = detector.preprocess(pictures[1:2])
    detector.run(other)
    again = detector.run(tensor)
    for name, array in first.items():
        np.testing.assert_array_equal(again[name], array)


@pytest.mark.parametrize("cuda_graph", [True, False])
@pytest.mark.parametrize("transfers", [True, False])
def test_what_is_timed_is_what_the_backend_computes(
    float16: Path, pictures: list[np.ndarray], transfers: bool, cuda_graph: bool
) -> None:
    detector = load_detector(float16)
    assert isinstance(detector.backend, TensorRTBackend)
    tensor, _ = detector.preprocess(pictures[:1])
    expected = detector.run(tensor)
    zero = Zero.now()
    runner = TensorRTRunner(detector.backend, {"images": tensor}, zero=zero, transfers=transfers, cuda_graph=cuda_graph)
    assert runner.settings["cuda_graph"] is cuda_graph
    queries = []
    runner.submit()
    for _ in range(49):
        runner.submit()
        queries.append(runner.collect())
    for name, array in runner.outputs().items():
        np.testing.assert_array_equal(array, expected[name])
    assert statistics.median(query.compute for query in queries) > 0
    for query in queries:
        assert 0 <= query.h2d_start <= query.h2d_end <= query.compute_start
        assert query.compute_start <= query.compute_end <= query.d2h_start <= query.d2h_end <= zero.elapsed()


@pytest.mark.parametrize("library", ["torch", "cupy", "pycuda"])
def test_arrays_on_the_device_are_taken_and_given(float16: Path, pictures: list[np.ndarray], library: str) -> None:
    if find_spec(library) is None:
        pytest.skip(f"there is no {library}")
    detector = load_detector(float16)
    tensor, _ = detector.preprocess(pictures[:1])
    expected = detector.run(tensor)
    to_device, to_host = _transfers(library)
    found = detector.backend.run_on_device({"images": to_device(tensor)})  # type: ignore[attr-defined]
    for name, array in expected.items():
        np.testing.assert_array_equal(to_host(found[name]), array)


def _transfers(library: str) -> tuple[Any, Any]:
    """How a library puts an array onto the device, and gets one from there."""
    if library == "torch":
        import torch

        if not torch.cuda.is_available():
            pytest.skip("this PyTorch has no CUDA")
        return lambda array: torch.from_numpy(array).cuda(), lambda array: torch.as_tensor(array, device="cuda").cpu()
    if library == "cupy":
        import cupy

        return cupy.asarray, lambda array: cupy.asnumpy(cupy.asarray(array))
    import_module("pycuda.autoprimaryctx")  # the context that CUDA's runtime library uses too
    from pycuda import driver, gpuarray

    def to_host(array: Any) -> np.ndarray:
        result = np.empty(array.shape, array.dtype)
        driver.memcpy_dtoh(result, array.address)
        return result

    return gpuarray.to_gpu, to_host


def test_a_free_batch(models: Path, pictures: list[np.ndarray], tmp_path: Path) -> None:
    edgedet("build", models / "free.onnx", "--batches", "1:2:4", "--out", tmp_path / "m.engine")
    detector = load_detector(tmp_path / "m.engine")
    together = detector.detect(pictures[:6])
    for one, other in zip(together, (detector.detect([picture])[0] for picture in pictures[:6]), strict=True):
        if len(one.score) and len(other.score):
            assert pairwise_iou(one.xyxy[:1], other.xyxy).max() > 0.8


def test_detections_from_the_plugin(models: Path, pictures: list[np.ndarray], tmp_path: Path) -> None:
    if OPERATORS is None:
        pytest.skip("EDGEDET_OPERATORS does not name the library of plugins")
    out = tmp_path / "m.engine"
    built = edgedet("build", models / "int8-nms.onnx", "--operators", OPERATORS, "--out", out)
    assert built["comparison"]["shared"] >= 0.9
    with_plugin = load_detector(out, operators=Path(OPERATORS))
    assert with_plugin.has_nms and sum(len(found.score) for found in with_plugin.detect(pictures)) > 0


def test_a_changed_plan_is_refused(float16: Path, images: Path, tmp_path: Path) -> None:
    for path in (float16, float16.with_name("m.engine.json")):
        shutil.copy(path, tmp_path)
    engine = tmp_path / "m.engine"
    engine.write_bytes(engine.read_bytes()[:-100])
    assert "not the one that the manifest was written for" in refusal("predict", engine, images / "images" / "val")


def test_a_plan_of_another_gpu_is_refused(float16: Path, images: Path, tmp_path: Path) -> None:
    for path in (float16, float16.with_name("m.engine.json")):
        shutil.copy(path, tmp_path)
    manifest = tmp_path / "m.engine.json"
    values = json.loads(manifest.read_text())
    values["built_on"]["compute_capability"] = "1.0"
    manifest.write_text(json.dumps(values))
    said = refusal("predict", tmp_path / "m.engine", images / "images" / "val")
    assert "built for compute capability 1.0" in said and "edgedet build" in said


def test_what_the_inspector_says_is_understood(engine: Path) -> None:
    inspected = edgedet("inspect", engine, "--profile-runs", 20)
    assert inspected["detailed"] is True
    assert inspected["milliseconds"] > 0
    assert {port["name"] for port in inspected["ports"]} >= {"images"}


def test_trtexec_takes_the_command(models: Path, tmp_path: Path) -> None:
    if TRTEXEC is None:
        pytest.skip("there is no trtexec")
    words = ["build", models / "int8.onnx", "--out", tmp_path / "m.engine", "--emit-trtexec"]
    shown = subprocess.run(
        [sys.executable, "-m", "edgedet", *map(str, words)], capture_output=True, text=True, timeout=600, check=True
    )
    command = [TRTEXEC, *shlex.split(shown.stdout)[1:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert (tmp_path / "m.engine").is_file()


def test_the_script_runs(models: Path, tmp_path: Path) -> None:
    words = ["build", models / "int8.onnx", "--out", tmp_path / "m.engine", "--emit-script"]
    shown = subprocess.run(
        [sys.executable, "-m", "edgedet", *map(str, words)], capture_output=True, text=True, timeout=600, check=True
    )
    (tmp_path / "script.py").write_text(shown.stdout)
    subprocess.run([sys.executable, str(tmp_path / "script.py")], timeout=1800, check=True)
    assert (tmp_path / "m.engine").is_file()


def test_the_fastest_precision_is_found(models: Path, images: Path, tmp_path: Path) -> None:
    arguments = ("build", models / "int8.onnx", "--auto-precision", "--data", images, "--max-drop", 100)
    decision = edgedet(*arguments, "--out", tmp_path / "m.engine")
    times = {candidate["name"]: candidate["median_ms"] for candidate in decision["candidates"]}
    assert decision["chosen"] == min(times, key=times.__getitem__)


def test_doctor_finds_nothing_broken() -> None:
    checks = edgedet("doctor", *(() if OPERATORS is None else ("--plugins", OPERATORS)))["checks"]
    assert [check for check in checks if check["state"] == "broken"] == []
    assert {"TensorRT", "CUDA", "GPU"} <= {check["name"] for check in checks if check["state"] == "ok"}
