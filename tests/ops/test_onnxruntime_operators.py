"""The library of operators for ONNX Runtime: what it gives is held to the reference in `test_diou_nms` too."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from nms_implementations import OPERATORS, by_operator, in_onnx_runtime, model
from onnx import parser
from tiny_onnx import SPEC, picture, tiny_model

from edgedet.errors import EdgedetError
from edgedet.graph.nms import with_nms
from edgedet.ops.diou_nms import DIoUNMS
from edgedet.runtime.load import load_detector

needs_library = pytest.mark.skipif(not OPERATORS.exists(), reason=f"{OPERATORS} is not built: make operators")


def scene(dtype: str, images: int = 3, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    corners = rng.random((images, count, 2)) * 100
    boxes = np.concatenate([corners, corners + rng.random((images, count, 2)) * 40], axis=2)
    scores = rng.random((images, count, 4))
    return boxes.astype(np.float32).astype(dtype), scores.astype(np.float32).astype(dtype)


@needs_library
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_every_float_type_gives_what_the_function_body_gives(dtype: str) -> None:
    boxes, scores = scene(dtype)
    attributes = DIoUNMS(iou_threshold=0.3)
    for found, expected in zip(
        by_operator(boxes, scores, attributes), in_onnx_runtime(boxes, scores, attributes), strict=True
    ):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@needs_library
def test_bfloat16() -> None:
    """NumPy has no such type: the graph converts."""
    graph = parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17, "edgedet" : 1]>
        detector (float[B, N, 4] boxes, float[B, N, C] scores)
        => (int32[B, 1] num_dets, float[B, 50, 4] det_boxes, float[B, 50] det_scores, int32[B, 50] det_classes,
            float[B, N, C] mish) {
            half_boxes = Cast <to = 16> (boxes)
            half_scores = Cast <to = 16> (scores)
            num_dets, half_det_boxes, half_det_scores, det_classes = edgedet.EdgeDetDIoUNMS <score_threshold = 0.25,
                iou_threshold = 0.3, beta = 1.0, pre_nms_top_k = 1000, max_detections = 50, class_agnostic = 0>
                (half_boxes, half_scores)
            half_mish = edgedet.EdgeDetMish (half_scores)
            det_boxes = Cast <to = 1> (half_det_boxes)
            det_scores = Cast <to = 1> (half_det_scores)
            mish = Cast <to = 1> (half_mish)
        }
    """)
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(str(OPERATORS))
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    boxes, scores = (_to_bfloat16(array) for array in scene("float32"))
    *found, mish = session.run(None, {"boxes": boxes, "scores": scores})
    for one, other in zip(found, by_operator(boxes, scores, DIoUNMS(0.25, 0.3, max_detections=50)), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(mish, scores * np.tanh(np.log1p(np.exp(scores))), rtol=2**-8)


def _to_bfloat16(array: np.ndarray) -> np.ndarray:
    """The float32 values cut off to those that bfloat16 has too."""
    return (array.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


@needs_library
def test_it_takes_the_place_of_the_body(tmp_path: Path) -> None:
    boxes, scores = scene("float32")
    names = {}
    for operators in (False, True):
        options = onnxruntime.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(tmp_path / "profile")
        if operators:
            options.register_custom_ops_library(str(OPERATORS))
        session = onnxruntime.InferenceSession(model(DIoUNMS()).SerializeToString(), options)
        session.run(None, {"boxes": boxes, "scores": scores})
        events = json.loads(Path(session.end_profiling()).read_text())
        names[operators] = {event["args"]["op_name"] for event in events if "op_name" in event.get("args", {})}
    assert names[True] == {"EdgeDetDIoUNMS"}
    assert "Loop" in names[False] and "EdgeDetDIoUNMS" not in names[False]


@needs_library
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_one_session_in_several_threads(dtype: str) -> None:
    attributes = DIoUNMS(iou_threshold=0.3)
    inputs = [tuple(array[:, : 50 + 10 * place] for array in scene(dtype)) for place in range(8)]
    expected = [by_operator(*arrays, attributes) for arrays in inputs]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda arrays: by_operator(*arrays, attributes), inputs * 5))
        for found, wanted in zip(results, expected * 5, strict=True):
            for one, other in zip(found, wanted, strict=True):
                np.testing.assert_array_equal(one, other)


@needs_library
@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [("iou_threshold", 1.5, "iou_threshold from 0 to 1"), ("beta", float("nan"), "beta above 0")],
)
def test_attributes_out_of_range_are_refused(tmp_path: Path, name: str, value: float, wanted: str) -> None:
    broken = with_nms(tiny_model(), DIoUNMS())
    for attribute in broken.graph.node[-1].attribute:
        if attribute.name == name:
            attribute.f = value
    onnx.save(broken, tmp_path / "broken.onnx")
    with pytest.raises(EdgedetError, match=f"EdgeDetDIoUNMS takes {wanted}"):
        load_detector(tmp_path / "broken.onnx", operators=OPERATORS)


@needs_library
def test_shapes_that_do_not_fit_are_refused() -> None:
    boxes, scores = scene("float32")
    with pytest.raises(Exception, match=r"EdgeDetDIoUNMS takes scores \[B, N, C\]"):
        by_operator(boxes, scores[:, :-1], DIoUNMS())


@needs_library
def test_a_detector_with_it_finds_the_same(tmp_path: Path) -> None:
    onnx.save(with_nms(tiny_model(), DIoUNMS(**SPEC.postprocess.model_dump())), tmp_path / "tiny.onnx")
    images = [picture(64, 64, ((0, 0, 8, 8), "red"), ((16, 16, 24, 24), "blue"))]
    (found,), (expected,) = (
        load_detector(tmp_path / "tiny.onnx", operators=operators).detect(images) for operators in (OPERATORS, None)
    )
    assert found.name == expected.name and len(found) == 2
    np.testing.assert_array_equal(found.xyxy, expected.xyxy)


@pytest.mark.parametrize("content", [None, b"", b"not a library"])
def test_a_library_that_is_none_is_refused(tmp_path: Path, content: bytes | None) -> None:
    onnx.save(tiny_model(), tmp_path / "tiny.onnx")
    library = tmp_path / "library.so"
    if content is not None:
        library.write_bytes(content)
    with pytest.raises(EdgedetError, match="no such library" if content is None else "not a library") as caught:
        load_detector(tmp_path / "tiny.onnx", operators=library)
    assert "make operators" in str(caught.value.fix)


def test_a_library_of_something_else_is_refused(tmp_path: Path) -> None:
    from edgedet.ops import _cpu

    onnx.save(tiny_model(), tmp_path / "tiny.onnx")
    with pytest.raises(EdgedetError, match="not a library of operators"):
        load_detector(tmp_path / "tiny.onnx", operators=Path(_cpu.__file__))
