"""Which precision is kept: by times that the double is told to take, and accuracy that is measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tensorrt_double.environment import TensorRT

from edgedet.deploy.precision import Candidate, block_of_layer, fastest

SLOW = "backbone.stage3"


def choose(trt: TensorRT, models: Path, images: Path, folder: Path, speeds: dict[str, Any]) -> dict[str, Any]:
    arguments = ("build", models / "int8.onnx", "--out", folder / "m.engine", "--auto-precision", "--data", images)
    done = trt.run(*arguments, "--max-drop", "100", "--json", cwd=folder, DOUBLE_SPEEDS=json.dumps(speeds))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_int8_is_kept_where_it_is_faster_in_every_block(
    trt10: TensorRT, models: Path, images: Path, tmp_path: Path
) -> None:
    result = choose(trt10, models, images, tmp_path, {"float": 0.04, "int8": 0.02, "slow": []})
    assert [candidate["name"] for candidate in result["candidates"]] == ["fp16", "int8"]
    assert result["chosen"] == "int8"
    assert result["manifest"]["options"]["precision"] == "int8"


def test_where_a_block_is_slower_in_int8_a_mix_is_built_and_kept(
    trt10: TensorRT, models: Path, images: Path, tmp_path: Path
) -> None:
    result = choose(trt10, models, images, tmp_path, {"float": 0.04, "int8": 0.02, "slow": [SLOW]})
    float16, int8, mixed = result["candidates"]
    assert mixed["name"] == "mixed" and mixed["float_blocks"]
    assert all(block.startswith(SLOW) for block in mixed["float_blocks"])
    assert mixed["median_ms"] < min(float16["median_ms"], int8["median_ms"])
    assert result["chosen"] == "mixed"
    manifest = json.loads((tmp_path / "m.engine.json").read_text())
    assert manifest == result["manifest"]
    assert manifest["options"]["keep_float"] == mixed["float_blocks"]
    assert manifest["engine"]["name"] == "m.engine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.engine", "m.engine.json", "m.timing-cache"]
    loaded = trt10.run("predict", tmp_path / "m.engine", images / "images" / "test", "--no-save", cwd=tmp_path)
    assert loaded.returncode == 0, loaded.stderr


def test_the_table_says_what_was_measured(trt10: TensorRT, models: Path, images: Path, tmp_path: Path) -> None:
    speeds = json.dumps({"float": 0.01, "int8": 0.03, "slow": []})
    arguments = ("build", models / "int8.onnx", "--out", tmp_path / "m.engine", "--auto-precision", "--data", images)
    done = trt10.run(*arguments, cwd=tmp_path, DOUBLE_SPEEDS=speeds)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[0] for row in rows if row and row[-1] == "kept"] == ["fp16"], done.stdout
    assert any(row[:1] == ["int8"] for row in rows)
    assert "fp16 for Orin" in done.stdout


def test_what_cannot_be_chosen_is_refused(trt10: TensorRT, models: Path, images: Path, tmp_path: Path) -> None:
    for arguments, says in (
        ([models / "int8.onnx"], "give --data DATASET"),
        ([models / "float.onnx", "--data", images], "there is nothing to choose"),
        ([models / "int8.onnx", "--data", images, "--precision", "fp16"], "chooses the precision itself"),
        ([models / "int8.onnx", "--data", images, "--out", "x.plan"], "ends in .engine"),
        ([models / "int8.onnx", "--data", images, "--emit-script"], "two things are asked for at once"),
    ):
        refused = trt10.run("build", *arguments, "--auto-precision", cwd=tmp_path)
        assert refused.returncode == 2 and says in refused.stderr
    assert list(tmp_path.iterdir()) == []


def candidate(name: str, milliseconds: float, holds: bool) -> Candidate:
    return Candidate(name, milliseconds, milliseconds, milliseconds, 0.5, (), holds, 1)


def test_the_fastest_that_holds_is_kept() -> None:
    float16, int8, mixed = (candidate(name, ms, True) for name, ms in (("fp16", 3), ("int8", 1), ("mixed", 2)))
    assert fastest([float16, int8, mixed]) == "int8"
    assert fastest([float16, candidate("int8", 1, False), mixed]) == "mixed"
    assert fastest([float16, candidate("int8", 1, False), candidate("mixed", 2, False)]) == "fp16"


@pytest.mark.parametrize(
    ("layer", "block"),
    [
        ("backbone.stage2.0.branch1.0/Conv + backbone.stage2.0.branch1.2/Relu", "backbone.stage2.0"),
        ("backbone.features.7.conv.1.0.weight + backbone.features.7.conv.1.0/Conv", "backbone.features.7"),
        ("Reformatting CopyNode for Input Tensor 0 to neck.extra.0.0/Conv + neck.extra.0.2/Relu", "neck.extra.0"),
        ("PWN(head.towers.0.1/Sigmoid, head.towers.0.1/Mul)", "head.towers.0"),
        ("__myl_Fc_myl0_1", None),
    ],
)
def test_the_block_of_a_layer(layer: str, block: str | None) -> None:
    assert block_of_layer(layer) == block
