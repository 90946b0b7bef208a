from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from typer.testing import CliRunner

from edgedet.cli.app import app
from edgedet.errors import EdgedetError
from edgedet.graph import export as export_module
from edgedet.graph.export import export_model
from edgedet.graph.source import find_model
from edgedet.models.checkpoint import save_checkpoint

MODEL = "squeezenet_1.1"


def run(*args: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["export", *map(str, args)])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    detector, spec = find_model(MODEL, classes=2, size=(64, 64))
    path = tmp_path_factory.mktemp("checkpoint") / "best.pt"
    save_checkpoint(path, detector, spec.model_copy(update={"random_weights": False}))
    return path


class TestFindModel:
    def test_random_weights_are_marked_and_the_same_every_time(self) -> None:
        state = torch.get_rng_state()
        first, spec = find_model(MODEL, classes=2, size=(64, 96))
        second, _ = find_model(MODEL, classes=2, size=(64, 96))
        assert spec.random_weights
        assert (spec.preprocess.height, spec.preprocess.width, len(spec.class_names)) == (64, 96, 2)
        for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
            assert torch.equal(one, other)
        assert torch.equal(torch.get_rng_state(), state)

    def test_a_checkpoint_can_be_taken_at_another_size(self, checkpoint: Path) -> None:
        assert find_model(str(checkpoint))[1].preprocess.height == 64
        assert find_model(str(checkpoint), size=(128, 96))[1].preprocess.height == 128

    def test_a_name_that_is_neither(self) -> None:
        with pytest.raises(EdgedetError) as caught:
            find_model("shufflenetv2_1.0")
        assert "no checkpoint (no such file) and no model's name" in caught.value.what
        assert "did you mean 'shufflenetv2_1.0x'" in str(caught.value)

    def test_options_that_a_checkpoint_settles(self, checkpoint: Path) -> None:
        with pytest.raises(EdgedetError, match="--classes is for a model by name"):
            find_model(str(checkpoint), classes=3)
        with pytest.raises(EdgedetError, match="--activation is for a model by name"):
            find_model(str(checkpoint), activation="relu")

    def test_files_that_are_no_checkpoint(self, tmp_path: Path) -> None:
        with pytest.raises(EdgedetError):
            find_model(str(tmp_path / "missing.pt"))
        (tmp_path / "other.pt").write_bytes(b"not a checkpoint")
        with pytest.raises(EdgedetError):
            find_model(str(tmp_path / "other.pt"))
        with pytest.raises(EdgedetError):
            find_model(str(tmp_path))
        (tmp_path / "model.onnx").touch()
        with pytest.raises(EdgedetError, match="is an ONNX file already"):
            find_model(str(tmp_path / "model.onnx"))


class TestCommand:
    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (["mobilenetv3"], "did you mean 'mobilenetv2_"),
            ([MODEL, "--imgsz", "big"], "'big' is no image size"),
            ([MODEL, "--imgsz", "64x"], "'64x' is no image size"),
            ([MODEL, "--imgsz", "64x64x64"], "is no image size"),
            ([MODEL, "--imgsz", "100"], "use 96 or 128"),
            ([MODEL, "--batch", "2", "--dynamic-batch"], "--batch fixes"),
            ([MODEL, "--out", "model.engine"], "ends in .onnx"),
            ([MODEL, "--activation", "rleu"], "did you mean 'relu'"),
            ([MODEL, "--data", "nosuch"], "no such file"),
        ],
    )
    def test_wrong_use(self, args: list[str], message: str) -> None:
        assert message in run(*args, code=2)

    def test_the_options_arrive(self, monkeypatch: pytest.MonkeyPatch) -> None:
        given: dict[str, Any] = {}

        def record(model: str, out: Path | None, **options: Any) -> None:
            given.update(options, model=model, out=out)
            raise EdgedetError("recorded")

        monkeypatch.setattr(export_module, "export_model", record)
        run(MODEL, "--imgsz", "64x96", "--classes", "5", "--dynamic-batch", "--activation", "mish", "--nms", code=2)
        assert given == {
            "model": MODEL,
            "out": None,
            "data": None,
            "batch": 1,
            "dynamic_batch": True,
            "target": "master",
            "classes": 5,
            "size": (64, 96),
            "activation": "mish",
            "nms": True,
            "gates": "full",
        }

    @pytest.mark.slow
    def test_a_checkpoint_becomes_a_file_beside_it(self, checkpoint: Path) -> None:
        result = json.loads(run(checkpoint, "--json"))
        path = checkpoint.with_suffix(".onnx")
        assert result["path"] == str(path)
        assert result["agreement"]["box_error"] < 0.01
        assert onnx.load(path).graph.name == MODEL
        assert "agrees with PyTorch on 8 images" in run(checkpoint)

    @pytest.mark.slow
    def test_random_weights_are_named_in_the_output_and_the_file(self, tmp_path: Path) -> None:
        printed = run(MODEL, "--imgsz", 64, "--classes", 2, "--out", tmp_path / "random.onnx")
        assert "random weights, for latency only" in printed
        description = {entry.key: entry.value for entry in onnx.load(tmp_path / "random.onnx").metadata_props}
        assert "random weights" in description["description"]
        again = export_model(MODEL, tmp_path / "again.onnx", size=(64, 64), classes=2)
        assert again.path.read_bytes() == (tmp_path / "random.onnx").read_bytes()
