from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_onnx import picture, write_tiny_model
from typer.testing import CliRunner

from edgedet.bench.latency import generated_image, measure_latency, one_per_core, percentile, pinned, statistics
from edgedet.cli.app import app
from edgedet.errors import EdgedetError


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "tiny.onnx")


class TestStatistics:
    def test_hundred_times(self) -> None:
        times = [float(value) for value in range(1, 101)]
        result = statistics(times[::-1])
        assert (result.p50, result.p90, result.p95, result.p99) == (50, 90, 95, 99)
        assert (result.mean, result.min, result.max) == (50.5, 1, 100)

    def test_one_time_is_every_percentile(self) -> None:
        assert set(vars(statistics([7.0])).values()) == {7.0}

    @settings(deadline=None)
    @given(st.lists(st.floats(0.1, 1e3), min_size=1), st.sampled_from([50, 90, 95, 99]))
    def test_a_percentile_is_a_measured_time_with_that_share_at_or_below_it(
        self, times: list[float], percent: int
    ) -> None:
        ordered = sorted(times)
        value = percentile(ordered, percent)
        assert value in times
        assert 100 * sum(time <= value for time in ordered) >= percent * len(times)
        assert 100 * sum(time < value for time in ordered) < percent * len(times)


class TestPinning:
    def test_is_restored_also_after_an_error(self) -> None:
        before = os.sched_getaffinity(0), cv2.getNumThreads()
        with pytest.raises(ZeroDivisionError), pinned(1) as cores:
            assert os.sched_getaffinity(0) == set(cores)
            assert len(cores) == cv2.getNumThreads() == 1
            raise ZeroDivisionError
        assert (os.sched_getaffinity(0), cv2.getNumThreads()) == before

    def test_more_threads_than_cores(self) -> None:
        with pytest.raises(EdgedetError, match="999 threads"), pinned(999):
            pass

    def test_hyperthreads_come_last(self, tmp_path: Path) -> None:
        for cpu, siblings in {0: "0-1", 1: "0-1", 2: "2,6", 6: "2,6", 3: "3"}.items():
            (tmp_path / f"cpu{cpu}" / "topology").mkdir(parents=True)
            (tmp_path / f"cpu{cpu}" / "topology" / "thread_siblings_list").write_text(siblings + "\n")
        assert one_per_core([0, 1, 2, 3, 6], tmp_path) == [0, 2, 3, 1, 6]
        assert one_per_core([1, 3, 6], tmp_path) == [1, 3, 6]
        assert one_per_core([5, 4], tmp_path) == [4, 5]


def test_the_generated_image_is_the_same_every_time_and_has_texture() -> None:
    image = generated_image()
    assert (image.dtype, image.shape) == (np.uint8, (480, 640, 3))
    np.testing.assert_array_equal(image, generated_image())
    assert image.std() > 20


def test_result_and_protocol(model: Path) -> None:
    latency = measure_latency(model, iterations=20, warmup=1)
    record = json.loads(json.dumps(latency.to_dict()))
    for figures in (record["inference"], record["end_to_end"], *record["stages"].values()):
        assert 0 < figures["min"] <= figures["p50"] <= figures["p90"] <= figures["p95"] <= figures["max"]
        assert figures["min"] <= figures["mean"] <= figures["max"]
    assert set(record["stages"]) == {"preprocess", "inference", "postprocess"}
    stage_means = sum(figures["mean"] for figures in record["stages"].values())
    assert record["end_to_end"]["mean"] == pytest.approx(stage_means)
    assert record["throughput"]["end_to_end"] == pytest.approx(1e3 / stage_means)
    protocol = record["protocol"]
    assert protocol["model_sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert protocol["input"] == "generated (640x480)"
    assert protocol["imgsz"] == "64x64"
    assert (protocol["threads"], protocol["iterations"], protocol["warmup"], protocol["batch"]) == (1, 20, 1, 1)
    assert len(protocol["cores"]) == 1
    assert protocol["cpu"]


def test_an_image_of_the_users_and_a_batch(tmp_path: Path) -> None:
    image = tmp_path / "photo.png"
    assert cv2.imwrite(str(image), picture(64, 32, ((0, 0, 8, 8), "red")))
    latency = measure_latency(write_tiny_model(tmp_path / "m.onnx", batch=3), iterations=2, warmup=0, image=image)
    assert latency.protocol["input"] == f"{image} (32x64)"
    assert (latency.protocol["batch"], latency.protocol["detections"]) == (3, 1)
    assert latency.throughput["inference"] == pytest.approx(3e3 / latency.inference.mean)


def test_the_verb(model: Path) -> None:
    as_json = CliRunner().invoke(app, ["bench", str(model), "--iterations", "3", "--json"])
    assert as_json.exit_code == 0
    assert json.loads(as_json.stdout)["protocol"]["iterations"] == 3
    readable = CliRunner().invoke(app, ["bench", str(model), "--iterations", "3"])
    assert "inference alone" in readable.stdout
    assert "model_sha256: " in readable.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--image", "missing.png"], "missing.png"),
        (["--threads", "999"], "--threads"),
        (["--iterations", "0"], "--iterations"),
    ],
)
def test_wrong_use(model: Path, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["bench", str(model), *arguments])
    assert result.exit_code == 2
    assert message in result.stderr
