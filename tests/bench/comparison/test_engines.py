"""Engines built for a comparison, with TensorRT's double: what is asked of it, and what is left of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorrt_double.environment import TensorRT, tensorrt
from tensorrt_models import write_models

QUICK = ("--duration", "0.1", "--time-limit", "1", "--no-layers", "--json")


@pytest.fixture(scope="module")
def trt10(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TensorRT]:
    with tensorrt("10.3.0", tmp_path_factory.mktemp("tensorrt")) as found:
        yield found


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))


def test_each_side_is_built_as_often_without_a_timing_cache_and_nothing_is_left(
    trt10: TensorRT, models: Path, tmp_path: Path
) -> None:
    before = sorted(models.iterdir())
    arguments = ("gate", models / "float.onnx", models / "int8.onnx", "--engines", "3", *QUICK)
    done = trt10.run(*arguments, cwd=tmp_path, TMPDIR=str(tmp_path))
    assert done.returncode == 3, done.stderr
    record = json.loads(done.stdout)
    assert len(trt10.recorded("build")) == 6
    assert record["base"]["model"]["path"].endswith("base/float-1.engine")
    assert record["head"]["model"]["path"].endswith("head/int8-1.engine")
    # Two sittings took the first two builds of the head, and all three of the base: the second instance has the next.
    assert [len(record["builds"][arm]["milliseconds"]) for arm in ("base", "head")] == [3, 2]
    assert list(tmp_path.iterdir()) == [] and sorted(models.iterdir()) == before
    assert "building 3 engines of float.onnx" in done.stderr


def test_builds_read_nothing_of_each_other(trt10: TensorRT, models: Path, tmp_path: Path) -> None:
    trt10.record.unlink(missing_ok=True)
    done = trt10.run("gate", models / "float.onnx", models / "float.onnx", "--engines", "2", *QUICK, cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert [call["timing_cache"] for call in trt10.recorded("build")] == [0, 0, 0, 0]


def test_engines_are_built_of_onnx_files_alone(trt10: TensorRT, models: Path, tmp_path: Path) -> None:
    engine = tmp_path / "built.engine"
    engine.write_bytes(b"a plan")
    done = trt10.run("gate", engine, models / "float.onnx", "--engines", "2", cwd=tmp_path)
    assert done.returncode == 2 and "engines are built of ONNX files" in done.stderr


def test_engines_that_were_built_before_are_compared_too(trt10: TensorRT, models: Path, tmp_path: Path) -> None:
    for name in ("one", "two", "head"):
        built = trt10.run("build", models / "float.onnx", "--out", tmp_path / f"{name}.engine", cwd=tmp_path)
        assert built.returncode == 0, built.stderr
    paths = [tmp_path / f"{name}.engine" for name in ("one", "head", "two")]
    done = trt10.run("gate", paths[0], paths[1], "--build", paths[2], *QUICK, cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert len(json.loads(done.stdout)["builds"]["base"]["milliseconds"]) == 2
