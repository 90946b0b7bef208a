from __future__ import annotations

import ast
import errno
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tiny_detector import NAMES, TinyDetector, tiny_spec

import edgedet
from edgedet.errors import CheckFailedError, EdgedetError
from edgedet.graph import export as export_module
from edgedet.graph.export import Export, export_model, export_onnx
from edgedet.graph.metadata import read_metadata
from edgedet.graph.source import find_model
from edgedet.graph.verify import Images, Tolerance, verification_images
from edgedet.models.detector import DecodedDetector
from edgedet.models.zoo import list_models
from edgedet.runtime.load import load_detector


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Export:
    return export_onnx(TinyDetector().eval(), tiny_spec(), tmp_path_factory.mktemp("fixed") / "tiny.onnx")


@pytest.fixture(scope="module")
def exported_dynamic(tmp_path_factory: pytest.TempPathFactory) -> Export:
    path = tmp_path_factory.mktemp("dynamic") / "tiny.onnx"
    return export_onnx(TinyDetector().eval(), tiny_spec(), path, dynamic_batch=True)


def outputs_of_both(path: Path, detector: TinyDetector, batch: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Boxes and scores of ONNX Runtime, each with PyTorch's, on random images."""
    images = np.random.default_rng(batch).normal(size=(batch, 3, 64, 96)).astype(np.float32)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = DecodedDetector(detector, 64, 96).eval()(torch.from_numpy(images))
    results = session.run(["boxes", "scores"], {"images": images})
    return [(mine, its.numpy()) for mine, its in zip(results, expected, strict=True)]


class TestAgreement:
    def test_onnx_runtime_gives_what_pytorch_gives(self, exported: Export) -> None:
        for result, expected in outputs_of_both(exported.path, TinyDetector().eval(), 1):
            np.testing.assert_allclose(result, expected, atol=1e-4)
        assert exported.agreement.box_error < 1e-3
        assert exported.agreement.score_error < 1e-5
        assert exported.agreement.images == 8

    @pytest.mark.parametrize("batch", [1, 3])
    def test_a_free_batch_takes_any(self, exported_dynamic: Export, batch: int) -> None:
        for result, expected in outputs_of_both(exported_dynamic.path, TinyDetector().eval(), batch):
            np.testing.assert_allclose(result, expected, atol=1e-4)
        shape = load_detector(exported_dynamic.path).backend.inputs[0].shape
        assert shape == (None, 3, 64, 96)

    def test_a_fixed_batch(self, tmp_path: Path) -> None:
        result = export_onnx(TinyDetector("mish").eval(), tiny_spec(), tmp_path / "two.onnx", batch=2)
        assert load_detector(result.path).backend.inputs[0].shape == (2, 3, 64, 96)
        for mine, expected in outputs_of_both(result.path, TinyDetector("mish").eval(), 2):
            np.testing.assert_allclose(mine, expected, atol=1e-4)

    @pytest.mark.slow
    @pytest.mark.parametrize("activation", ["relu6", "leaky_relu", "hardswish", "swish"])
    def test_every_activation(self, tmp_path: Path, activation: str) -> None:
        result = export_onnx(TinyDetector(activation).eval(), tiny_spec(), tmp_path / "a.onnx")
        assert result.agreement.box_error < 1e-3

    @pytest.mark.parametrize(
        "name",
        [pytest.param(name, marks=[] if name == "shufflenetv2_0.5x" else pytest.mark.slow) for name in list_models()],
    )
    def test_every_model(self, tmp_path: Path, name: str) -> None:
        result = export_model(name, tmp_path / "model.onnx", classes=3, size=(64, 96))
        assert result.agreement.box_error < 1e-2
        assert result.agreement.score_error < 1e-4
        model = onnx.load(result.path)
        weights = {tensor.name for tensor in model.graph.initializer if tensor.name.endswith(".weight")}
        assert weights <= set(find_model(name)[0].state_dict())
        in_backbone = {node.op_type for node in model.graph.node if node.name.startswith("backbone")}
        assert not in_backbone & {"Reshape", "Transpose"}, "a channel shuffle is left"
        assert all(
            len(node.input) == 3 for node in model.graph.node if node.op_type == "Conv"
        )  # trained ones have biases


class TestFile:
    def test_the_same_bytes_every_time_and_the_detector_is_left_as_it_was(
        self, exported: Export, tmp_path: Path
    ) -> None:
        detector = TinyDetector().train()
        before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
        again = export_onnx(detector, tiny_spec(), tmp_path / "another name.onnx")
        assert again.path.read_bytes() == exported.path.read_bytes()
        assert detector.training
        assert all(torch.equal(tensor, before[name]) for name, tensor in detector.state_dict().items())

    def test_no_trace_of_this_machine(self, exported: Export) -> None:
        data = exported.path.read_bytes()
        for trace in (str(Path(edgedet.__file__).parent), str(Path.home()), ".py", "torch"):
            assert trace.encode() not in data

    def test_an_old_format(self, exported: Export) -> None:
        model = onnx.load(exported.path)
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
        assert model.ir_version == 8
        assert not model.functions

    def test_nothing_of_training_is_left(self, exported: Export) -> None:
        operators = {node.op_type for node in onnx.load(exported.path).graph.node}
        assert not operators & {"Dropout", "BatchNormalization", "Shape", "Gather", "Constant", "Identity"}

    def test_nodes_are_named_by_the_networks_modules(self, exported: Export) -> None:
        model = onnx.load(exported.path)
        names = [node.name for node in model.graph.node]
        assert len(set(names)) == len(names)
        assert {"backbone.0/Conv", "backbone.2/Relu", "down.2/Clip", "decode/Sigmoid"} <= set(names)
        assert {"backbone.0.weight", "backbone.0.bias"} <= {tensor.name for tensor in model.graph.initializer}

    def test_other_tools_can_read_the_metadata(self, exported: Export) -> None:
        metadata = read_metadata(onnx.load(exported.path))
        assert ast.literal_eval(metadata["names"]) == dict(enumerate(NAMES))
        assert ast.literal_eval(metadata["imgsz"]) == [64, 96]
        assert (metadata["task"], metadata["stride"], metadata["batch"]) == ("detect", "16", "1")
        assert load_detector(exported.path).spec == tiny_spec()


class TestFailure:
    """Whatever goes wrong, what was there before is there afterwards, and nothing else."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "out" / "model.onnx"
        path.parent.mkdir()
        path.write_text("the previous file")
        return path

    def assert_untouched(self, path: Path) -> None:
        assert path.read_text() == "the previous file"
        assert list(path.parent.iterdir()) == [path]

    @pytest.fixture
    def graph(self, exported: Export, monkeypatch: pytest.MonkeyPatch) -> onnx.ModelProto:
        """The graph that exporting arrives at; tests spoil it."""
        model = onnx.load(exported.path)
        monkeypatch.setattr(export_module, "master_graph", lambda *args, **options: model)
        return model

    def test_a_graph_that_computes_something_else(self, path: Path, graph: onnx.ModelProto) -> None:
        bias = next(tensor for tensor in graph.graph.initializer if tensor.name == "outputs.1.bias")
        bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + 0.1, bias.name))
        with pytest.raises(CheckFailedError, match="does not agree with the checkpoint on 8 images") as caught:
            export_onnx(TinyDetector().eval(), tiny_spec(), path)
        assert "between the checkpoint and the master, outputs.1/Conv_output diverges first" in str(caught.value)
        self.assert_untouched(path)

    def test_a_lowering_that_computes_something_else(
        self, path: Path, graph: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def spoiled(master: onnx.ModelProto, target: str, ranges: object) -> onnx.ModelProto:
            result = onnx.ModelProto()
            result.CopyFrom(master)
            bias = next(tensor for tensor in result.graph.initializer if tensor.name == "down.0.bias")
            bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + 0.5, bias.name))
            return result

        monkeypatch.setattr(export_module, "lower", spoiled)
        with pytest.raises(CheckFailedError, match="does not agree with the checkpoint") as caught:
            export_onnx(TinyDetector().eval(), tiny_spec(), path, target="fp32")
        assert "between the master and the lowering, down.2/Clip_output diverges first" in str(caught.value)
        self.assert_untouched(path)

    @pytest.mark.parametrize(("data", "advice"), [(None, "(--data DATASET)"), ("real", "report it with the versions")])
    def test_rounding_that_adds_up(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, data: str | None, advice: str
    ) -> None:
        """No tensor is wrong; of generated images a detector may only be unsure."""
        monkeypatch.setattr(export_module, "_tolerance", lambda *_: Tolerance(box=-1.0, score=1.0))
        images = verification_images(None)
        with pytest.raises(CheckFailedError, match="no tensor diverges by itself") as caught:
            export_onnx(
                TinyDetector().eval(), tiny_spec(), path, images=Images(data, images.images) if data else images
            )
        assert advice in str(caught.value)
        self.assert_untouched(path)

    def test_a_graph_that_is_not_sound(self, path: Path, graph: onnx.ModelProto) -> None:
        graph.graph.node[0].doc_string = "a note"
        with pytest.raises(CheckFailedError, match="not sound"):
            export_onnx(TinyDetector().eval(), tiny_spec(), path)
        self.assert_untouched(path)

    def test_a_detector_that_has_diverged(self, path: Path, graph: onnx.ModelProto) -> None:
        detector = TinyDetector().eval()
        torch.nn.init.constant_(detector.outputs[0].bias, float("nan"))
        with pytest.raises(CheckFailedError, match="not finite") as caught:
            export_onnx(detector, tiny_spec(), path)
        assert "outputs.0/Conv_output diverges first" in str(caught.value)
        self.assert_untouched(path)

    def test_a_full_disk(self, path: Path, graph: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
        def write_half(self: Path, data: bytes) -> int:
            with self.open("wb") as file:
                file.write(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "write_bytes", write_half)
        with pytest.raises(EdgedetError, match="No space left") as caught:
            export_onnx(TinyDetector().eval(), tiny_spec(), path)
        monkeypatch.undo()
        assert "free some space" in str(caught.value)
        self.assert_untouched(path)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("model", "ends in .onnx"),
            ("model.pt", "ends in .onnx"),
            ("folder.onnx", "folder"),
            ("file/m.onnx", "cannot"),
        ],
    )
    def test_an_output_that_cannot_be_written(
        self, tmp_path: Path, name: str, message: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def traced_too_early(*args: Any, **options: Any) -> None:
            raise AssertionError

        monkeypatch.setattr(export_module, "master_graph", traced_too_early)
        (tmp_path / "folder.onnx").mkdir()
        (tmp_path / "file").touch()
        with pytest.raises(EdgedetError, match=message):
            export_onnx(TinyDetector().eval(), tiny_spec(), tmp_path / name)

    def test_an_input_size_that_the_strides_do_not_divide(self, tmp_path: Path) -> None:
        with pytest.raises(EdgedetError, match=re.escape("not a multiple of 32")):
            export_onnx(TinyDetector().eval(), tiny_spec(64, 100), tmp_path / "model.onnx")
        assert not list(tmp_path.iterdir())
