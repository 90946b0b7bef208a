from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tiny_onnx import SPEC, cell_boxes, tiny_model, write_tiny_model

from edgedet.errors import EdgedetError
from edgedet.runtime.backends.onnxruntime import load
from edgedet.runtime.load import load_detector


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.onnx"


def refused(path: Path, match: str | None = None) -> EdgedetError:
    with pytest.raises(EdgedetError, match=match) as caught:
        load_detector(path)
    assert caught.value.exit_code == 2
    assert caught.value.where == str(path)
    return caught.value


def test_reads_the_specification_and_the_interface(path: Path) -> None:
    backend, spec = load(write_tiny_model(path), threads=1)
    assert spec == SPEC
    assert backend.inputs[0].shape == (1, 3, 64, 64)
    assert {tensor.name: tensor.shape for tensor in backend.outputs} == {"boxes": (1, 64, 4), "scores": (1, 64, 3)}
    assert backend.name.startswith("onnxruntime ")


def test_a_free_batch_size_is_none(path: Path) -> None:
    backend, _ = load(write_tiny_model(path, batch="batch"))
    assert backend.inputs[0].shape == (None, 3, 64, 64)


def test_runs(path: Path) -> None:
    backend, _ = load(write_tiny_model(path))
    images = np.zeros((1, 3, 64, 64), np.float32)
    images[0, 1, 8:16, 16:24] = 0.75
    outputs = backend.run({"images": images})
    np.testing.assert_array_equal(outputs["boxes"][0], cell_boxes())
    assert outputs["scores"][0, 8 + 2].tolist() == [0.0, 0.75, 0.0]
    assert outputs["scores"].sum() == 0.75


def test_a_failing_run_is_one_error(path: Path) -> None:
    backend, _ = load(write_tiny_model(path))
    with pytest.raises(EdgedetError, match="could not run"):
        backend.run({"images": np.zeros((1, 3, 32, 64), np.float32)})


def test_unknown_device(path: Path) -> None:
    with pytest.raises(EdgedetError, match="unknown device 'cdua'") as caught:
        load(write_tiny_model(path), device="cdua")
    assert "'cuda'" in str(caught.value.fix)


class TestFilesThatAreNotOurs:
    def test_missing(self, path: Path) -> None:
        refused(path, "no such model file")

    def test_folder(self, path: Path) -> None:
        path.mkdir()
        refused(path, "no such model file")

    def test_unknown_kind(self, tmp_path: Path) -> None:
        path = tmp_path / "model.onnxx"
        path.touch()
        assert ".onnx" in str(refused(path, "unknown kind of model file").fix)

    @pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"not a model", b"\x08" * 999, b"PK\x03\x04"])
    def test_not_onnx(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        assert refused(path, "not a model that ONNX Runtime can load|not one that edgedet exported").fix

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
    def test_truncated(self, path: Path, share: float) -> None:
        data = tiny_model().SerializeToString()
        path.write_bytes(data[: int(len(data) * share)])
        assert "copy it again" in str(refused(path, "not a model that ONNX Runtime can load").fix)

    def test_too_large(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from edgedet.runtime.backends import onnxruntime

        monkeypatch.setattr(onnxruntime, "MODEL_LIMIT", 1000)
        refused(write_tiny_model(path), "larger than")

    def test_somebody_elses_model(self, path: Path) -> None:
        fix = str(refused(write_tiny_model(path, metadata=None), "not one that edgedet exported").fix)
        assert "edgedet export" in fix

    def test_weights_in_another_file_are_not_followed(self, path: Path, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(cell_boxes().tobytes())
        for location in ("secret", "../secret", str(tmp_path / "secret")):
            model = tiny_model()
            cells = next(tensor for tensor in model.graph.initializer if tensor.name == "cells")
            cells.ClearField("raw_data")
            cells.data_location = TensorProto.EXTERNAL
            cells.external_data.add(key="location", value=location)
            data = model.SerializeToString()
            path.write_bytes(data)
            refused(path, "weights in other files")
            # The same message in protobuf's other spellings: the value before the key, and a length of two bytes.
            key, value = b"\x0a\x08location", b"\x12" + bytes([len(location)]) + location.encode()
            assert key + value in data
            path.write_bytes(data.replace(key + value, value + key))
            refused(path, "weights in other files")

    def test_weights_in_another_file_are_not_found_even_where_they_are_not_seen(
        self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from edgedet.runtime.backends import onnxruntime

        monkeypatch.setattr(onnxruntime, "EXTERNAL_DATA_KEY", re.compile(b"(?!)"))
        monkeypatch.chdir(tmp_path)
        (tmp_path / "secret").write_bytes(cell_boxes().tobytes())
        for location in ("secret", f"../{tmp_path.name}/secret", str(tmp_path / "secret")):
            model = tiny_model()
            cells = next(tensor for tensor in model.graph.initializer if tensor.name == "cells")
            cells.ClearField("raw_data")
            cells.data_location = TensorProto.EXTERNAL
            cells.external_data.add(key="location", value=location)
            path.write_bytes(model.SerializeToString())
            refused(path, "ONNX Runtime can load")


class TestSpecificationsThatLie:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{",
            "[]",
            "null",
            "7",
            "{}",
            '{"version": 2}',
            "[" * 100_000,
            "1" * 10_000,
            '{"version": ' + "1" * 10_000 + "}",
        ],
    )
    def test_not_a_specification(self, path: Path, text: str) -> None:
        refused(write_tiny_model(path, metadata=text))

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("model", 3),
            ("class_names", "red"),
            ("class_names", []),
            ("class_names", [1, 2, 3]),
            ("class_names", ["\ud800", "b", "c"]),
            ("model", "\udfff"),
            ("strides", ["a"]),
            ("preprocess", None),
            ("preprocess", {"height": 64, "width": 10**9}),
            ("preprocess", {"height": 64, "width": 64, "std": [0, 1, 1]}),
            ("preprocess", {"height": 64, "width": 64, "mean": [float("nan"), 0, 0]}),
            ("postprocess", {"pre_nms_top_k": 10**12}),
            ("postprocess", {"beta": float("inf")}),
            ("execute", "rm -rf /"),
        ],
    )
    def test_wrong_values(self, path: Path, key: str, value: object) -> None:
        changed = {**json.loads(SPEC.to_json()), key: value}
        assert key in str(refused(write_tiny_model(path, metadata=json.dumps(changed))))

    def test_huge(self, path: Path) -> None:
        refused(write_tiny_model(path, metadata=" " * (5 << 20)), "larger than 4 MiB")

    def test_another_input_size(self, path: Path) -> None:
        changed = json.loads(SPEC.to_json())
        changed["preprocess"]["width"] = 96
        error = refused(write_tiny_model(path, metadata=json.dumps(changed)), "its input images is float32")
        assert "[1, 3, 64, 64], not float32 [?, 3, 64, 96]" in error.what

    def test_another_number_of_classes(self, path: Path) -> None:
        changed = {**json.loads(SPEC.to_json()), "class_names": ["red", "green"]}
        error = refused(write_tiny_model(path, metadata=json.dumps(changed)), "output scores")
        assert "[?, ?, 2]" in error.what

    def test_another_output_name(self, path: Path) -> None:
        error = refused(write_tiny_model(path, output="boxen"), "its outputs are")
        assert "boxen, scores, not boxes, scores" in error.what

    def test_another_type(self, path: Path) -> None:
        model = tiny_model()
        model.graph.node.append(helper.make_node("Cast", ["raw"], ["boxes"], to=TensorProto.DOUBLE))
        model.graph.node[-2].output[0] = "raw"
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
        onnx.save(model, path)
        refused(path, "its output boxes")
