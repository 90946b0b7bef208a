"""Mish by every implementation, held to its definition in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nms_implementations import FLOAT_TYPES, OPERATORS
from onnx import helper
from onnx.reference import ReferenceEvaluator

from edgedet.graph.export import export_model
from edgedet.ops.mish import reference
from edgedet.ops.mish.body import function_body
from edgedet.ops.mish.definition import DOMAIN, OP_TYPE
from edgedet.ops.mish.native import mish
from edgedet.runtime.load import load_detector

needs_library = pytest.mark.skipif(not OPERATORS.exists(), reason="not built: make operators")


def model(dtype: str = "float32", opset: int = 17) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, FLOAT_TYPES[dtype], ["N", "C"]) for name in "xy"]
    graph = helper.make_graph([helper.make_node(OP_TYPE, ["x"], ["y"], domain=DOMAIN)], "mish", values[:1], values[1:])
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(DOMAIN, 1)]
    made = helper.make_model(graph, functions=[function_body(opset)], opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made


def in_onnx_runtime(values: np.ndarray, *, operators: bool = False, opset: int = 17) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    if operators:
        options.register_custom_ops_library(str(OPERATORS))
    content = model(values.dtype.name, opset).SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": values})[0])


def require_mish(found: np.ndarray, values: np.ndarray) -> None:
    wanted = reference.mish(values)
    assert found.dtype == values.dtype and found.shape == values.shape
    limits = np.finfo(values.dtype)
    steps = 1 if values.dtype == np.float16 else 5
    smallest = max(1.5e-36, float(limits.smallest_subnormal))
    np.testing.assert_allclose(found, wanted, rtol=float(steps * limits.eps), atol=smallest)


class TestKernel:
    @given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=70))
    def test_any_finite_values(self, values: list[float]) -> None:
        array = np.array(values, np.float32)
        require_mish(mish(array), array)

    def test_densely(self) -> None:
        values = np.linspace(-100, 30, 2_000_003, dtype=np.float32)
        require_mish(mish(values), values)

    def test_what_is_not_finite(self) -> None:
        found = mish(np.array([np.inf, np.nan, -np.inf], np.float32))
        assert found[0] == np.inf and np.isnan(found[1:]).all()

    def test_any_shape_of_anything_with_dlpack(self) -> None:
        values = torch.randn(3, 5, 7)
        np.testing.assert_allclose(mish(values), torch.nn.functional.mish(values), rtol=1e-5, atol=1e-6)
        strided = values.numpy()[:, ::2, ::-1]
        np.testing.assert_array_equal(mish(strided), mish(strided.copy()))
        assert mish(np.zeros((0, 3), np.float32)).shape == (0, 3)


class TestOperator:
    values = np.linspace(-12, 12, 600, dtype=np.float32).reshape(20, 30)

    @pytest.mark.parametrize("opset", [13, 17, 21])
    def test_function_body_in_onnx_runtime(self, opset: int) -> None:
        found = in_onnx_runtime(self.values, opset=opset)
        np.testing.assert_allclose(found, reference.mish(self.values), rtol=1e-4, atol=1e-6)

    def test_function_body_in_onnx_reference(self) -> None:
        (found,) = ReferenceEvaluator(model()).run(None, {"x": self.values})
        np.testing.assert_allclose(found, reference.mish(self.values), rtol=1e-4, atol=1e-6)

    @needs_library
    @pytest.mark.parametrize("dtype", FLOAT_TYPES)
    def test_library(self, dtype: str) -> None:
        values = self.values.astype(dtype)
        require_mish(in_onnx_runtime(values, operators=True), values)
        assert in_onnx_runtime(values[:0], operators=True).shape == (0, 30)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mish") / "q.onnx"
    export_model("shufflenetv2_0.5x", path, target="ort-cpu", classes=3, size=(64, 64), activation="mish")
    return path


class TestExport:
    def test_a_file_for_onnx_runtime_uses_it_everywhere(self, path: Path) -> None:
        exported = onnx.load(path)
        kinds = [node.op_type for node in exported.graph.node]
        assert kinds.count(OP_TYPE) > 20
        assert "Softplus" not in kinds and "Tanh" not in kinds
        assert [function.name for function in exported.functions] == [OP_TYPE]

    @needs_library
    def test_detections_are_the_same_with_the_library(self, path: Path) -> None:
        """Within what a step of a quantizer makes of a last bit."""
        images = [np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)]
        outputs = [
            load_detector(path, operators=operators).with_postprocess(score_threshold=0.0).detect(images)[0]
            for operators in (None, OPERATORS)
        ]
        assert abs(len(outputs[0]) - len(outputs[1])) <= 10
        np.testing.assert_allclose(outputs[0].score[:20], outputs[1].score[:20], atol=0.02)

    def test_beside_nms(self, tmp_path: Path) -> None:
        options = {"target": "ort-cpu", "classes": 3, "size": (64, 64), "activation": "mish", "nms": True}
        made = onnx.load(export_model("shufflenetv2_0.5x", tmp_path / "both.onnx", **options).path)
        assert {function.name for function in made.functions} == {OP_TYPE, "EdgeDetDIoUNMS"}
        assert sorted(entry.domain for entry in made.opset_import) == ["", DOMAIN]
        assert load_detector(tmp_path / "both.onnx").has_nms

    @pytest.mark.parametrize("target", ["master", "trt10", "fp32"])
    def test_other_files_keep_standard_operators(self, tmp_path: Path, target: str) -> None:
        made = export_model("shufflenetv2_0.5x", tmp_path / "q.onnx", target=target, size=(64, 64), activation="mish")
        exported = onnx.load(made.path)
        assert {node.domain for node in exported.graph.node} == {""}
        assert "Softplus" in {node.op_type for node in exported.graph.node}
