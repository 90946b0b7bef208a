"""NMS inside a file: the detections are those of edgedet's runtime behind the same file's boxes and scores."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from nms_implementations import OPERATORS
from onnx import numpy_helper
from tiny_detector import TinyDetector, tiny_spec
from tiny_onnx import SPEC, picture, tiny_model, write_tiny_model

from edgedet.errors import CheckFailedError, EdgedetError
from edgedet.graph import export as export_module
from edgedet.graph.export import export_model, export_onnx
from edgedet.graph.nms import with_nms, without_nms
from edgedet.ops.diou_nms import DIoUNMS
from edgedet.runtime.detector import Detector
from edgedet.runtime.load import load_detector

SQUARES = [
    picture(64, 64, ((0, 0, 8, 8), "red")),
    picture(64, 64),
    picture(128, 64, ((16, 32, 32, 48), "green"), ((0, 0, 16, 16), "blue")),
]


def tiny_detector(path: Path, *, batch: int | str = 1, **attributes: Any) -> Detector:
    """The network of `tiny_onnx`, with NMS inside."""
    spec = SPEC.with_postprocess(**attributes)
    onnx.save(
        with_nms(tiny_model(batch=batch, metadata=spec.to_json()), DIoUNMS(**spec.postprocess.model_dump())), path
    )
    return load_detector(path)


@pytest.mark.parametrize("batch", [1, 2, "batch"])
def test_detections_come_out(tmp_path: Path, batch: int | str) -> None:
    detector = tiny_detector(tmp_path / "tiny.onnx", batch=batch, max_detections=7)
    found = detector.detect(SQUARES)
    assert [one.name for one in found] == [["red"], [], ["blue", "green"]]
    assert found[2].xyxy.tolist() == [[0, 0, 16, 16], [16, 32, 32, 48]]
    assert found[0].class_id.dtype == np.int64
    shapes = {output.name: output.shape[1:] for output in detector.backend.outputs}
    assert shapes == {"num_dets": (1,), "det_boxes": (7, 4), "det_scores": (7,), "det_classes": (7,)}


@pytest.mark.parametrize("limit", [3, 64, 300])
def test_as_many_as_the_limit_lets_through(tmp_path: Path, limit: int) -> None:
    detector = tiny_detector(tmp_path / "tiny.onnx", max_detections=limit)
    outside = load_detector(write_tiny_model(tmp_path / "outside.onnx")).with_postprocess(max_detections=limit)
    white = [np.full((64, 64, 3), 255, np.uint8)]
    (found,), (expected,) = detector.detect(white), outside.detect(white)
    assert len(found) == min(limit, 3 * 64)
    np.testing.assert_array_equal(found.xyxy, expected.xyxy)
    np.testing.assert_array_equal(found.class_id, expected.class_id)


def test_settings_inside_cannot_be_changed(tmp_path: Path) -> None:
    detector = tiny_detector(tmp_path / "tiny.onnx")
    assert detector.with_postprocess(score_threshold=None, iou_threshold=0.6).spec == detector.spec
    with pytest.raises(EdgedetError, match="NMS are inside the model") as caught:
        detector.with_postprocess(score_threshold=0.1)
    assert "without --nms" in str(caught.value.fix)


class TestExport:
    @pytest.mark.parametrize("dynamic_batch", [False, True])
    def test_of_a_network(self, tmp_path: Path, dynamic_batch: bool) -> None:
        spec = tiny_spec().with_postprocess(score_threshold=0.0)
        exported = export_onnx(
            TinyDetector().eval(), spec, tmp_path / "tiny.onnx", nms=True, dynamic_batch=dynamic_batch
        )
        assert exported.nms and exported.to_dict()["nms"]
        model = onnx.load(exported.path)
        assert [(node.op_type, node.domain) for node in model.graph.node if node.domain] == [
            ("EdgeDetDIoUNMS", "edgedet")
        ]
        assert [function.name for function in model.functions] == ["EdgeDetDIoUNMS"]
        found = load_detector(exported.path).detect(SQUARES)
        assert min(map(len, found)) > 0

    @pytest.mark.parametrize("target", ["ort-cpu", "fp16", "fp32"])
    def test_of_a_lowering(self, tmp_path: Path, target: str) -> None:
        exported = export_model(
            "shufflenetv2_0.5x", tmp_path / "int8.onnx", target=target, classes=3, size=(64, 64), nms=True
        )
        assert load_detector(exported.path).has_nms

    @pytest.mark.parametrize("target", ["trt8", "trt10", "trt11"])
    def test_for_tensorrt_it_is_left_to_the_plugin(self, tmp_path: Path, target: str) -> None:
        exported = export_model("shufflenetv2_0.5x", tmp_path / "trt.onnx", target=target, size=(64, 64), nms=True)
        assert exported.needs_plugin and exported.to_dict()["needs_plugin"]
        model = onnx.load(exported.path)
        assert not model.functions
        (node,) = [node for node in model.graph.node if node.domain]
        attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        assert (node.op_type, node.domain) == ("EdgeDetDIoUNMS", "edgedet")
        assert (attributes.pop("plugin_namespace"), attributes.pop("plugin_version")) == (b"", b"1")
        assert attributes.keys() == {field.name for field in fields(DIoUNMS)}
        with pytest.raises(EdgedetError, match="made for TensorRT's plugins") as caught:
            load_detector(exported.path)
        assert "--operators" in str(caught.value.fix)

    @pytest.mark.skipif(not OPERATORS.exists(), reason="not built: make operators")
    def test_such_a_file_runs_with_the_library_of_operators(self, tmp_path: Path) -> None:
        path = tmp_path / "trt.onnx"
        export_model("shufflenetv2_0.5x", path, target="trt10", classes=3, size=(64, 64), nms=True)
        detector = load_detector(path, operators=OPERATORS)
        assert detector.has_nms and len(detector.detect(SQUARES)) == 3

    def test_more_candidates_than_the_plugin_compares(self, tmp_path: Path) -> None:
        spec = tiny_spec().with_postprocess(pre_nms_top_k=16385)
        with pytest.raises(EdgedetError, match="compares 16384 candidates at most") as caught:
            export_onnx(TinyDetector().eval(), spec, tmp_path / "no.onnx", target="trt10", nms=True)
        assert "it is 16385" in str(caught.value.fix)

    def test_other_detections_are_a_failed_check(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def looser(model: onnx.ModelProto, attributes: DIoUNMS) -> onnx.ModelProto:
            found = with_nms(model, attributes)
            for attribute in found.graph.node[-1].attribute:
                if attribute.name == "iou_threshold":
                    attribute.f = 0.99
            return found

        monkeypatch.setattr(export_module, "with_nms", looser)
        path = tmp_path / "tiny.onnx"
        with pytest.raises(CheckFailedError, match="finds other detections"):
            export_onnx(TinyDetector().eval(), tiny_spec().with_postprocess(score_threshold=0.0), path, nms=True)
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("output", "value", "message"),
    [
        ("num_dets", [[301]], "counts from 301 to 301, of 300 rows"),
        ("num_dets", [[-1]], "counts from -1 to -1"),
        ("det_classes", [[3] * 300], "classes from 3 to 3, of 3"),
    ],
)
def test_what_a_strangers_file_gives_is_not_believed(
    tmp_path: Path, output: str, value: list[list[int]], message: str
) -> None:
    model = with_nms(tiny_model(), DIoUNMS(score_threshold=0.5))
    node = model.graph.node[-1]
    node.output[list(node.output).index(output)] = "ignored"
    model.graph.node.append(onnx.helper.make_node("Identity", ["wrong"], [output]))
    model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.int32), "wrong"))
    onnx.save(model, tmp_path / "wrong.onnx")
    with pytest.raises(EdgedetError, match=message):
        load_detector(tmp_path / "wrong.onnx").detect(SQUARES[:1])


def test_nms_can_be_taken_out_again() -> None:
    plain = tiny_model(metadata=SPEC.to_json())
    again = without_nms(with_nms(plain, DIoUNMS()))
    assert [output.name for output in again.graph.output] == ["boxes", "scores"]
    assert [node.name for node in again.graph.node] == [node.name for node in plain.graph.node]
    assert list(again.functions) == []
    onnx.checker.check_model(again, full_check=True)
    assert without_nms(plain) == plain
