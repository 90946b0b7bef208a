"""Files of detectors with gates: what is in them, and that they give the same with edgedet's library and without.

Stock ONNX Runtime computes the function bodies, whose sums are of floats: now and then a value is rounded to the next
step, which moves what follows by as little as a step does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from int8_masters import constants
from nms_implementations import OPERATORS
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from small_detector import small_detector

from edgedet.engine.network import read_network
from edgedet.errors import EdgedetError
from edgedet.graph.comparison.inputs import inputs_for
from edgedet.graph.comparison.run import compare_files, compare_sides
from edgedet.graph.comparison.side import onnx_side, torch_side
from edgedet.graph.export import Export, Gates, export_onnx
from edgedet.graph.lint.finding import FLOAT_ISLAND
from edgedet.graph.lowerings.float32_nodes import decoding_nodes
from edgedet.graph.lowerings.gated_plugin import with_functions, with_plugins
from edgedet.graph.lowerings.ort_cpu import lower_for_ort_cpu
from edgedet.graph.lowerings.tensorrt import lower_for_tensorrt
from edgedet.graph.nms import detections_graph
from edgedet.graph.source import find_model
from edgedet.graph.verify import INT8_TOLERANCE, verification_images
from edgedet.models.checkpoint import save_checkpoint
from edgedet.models.detector import Detector
from edgedet.models.quantized.collapsing import collapsed
from edgedet.models.quantized.detector import QuantizedDetector, traced
from edgedet.models.quantized.edges import edge_read_by, find_edges
from edgedet.models.quantized.recipe import Gating, Recipe
from edgedet.ops.diou_nms import DIoUNMS
from edgedet.ops.gated_conv.body import DOMAIN, OP_TYPE, QUANTIZED_OP_TYPE, function_body, gate_attributes
from edgedet.ops.gated_conv.definition import GatedConv, Granularity
from edgedet.quant.calibrate import fit_to_noise, observe, quantize
from edgedet.quant.gating import start_thresholds
from edgedet.quant.placement import gateable
from edgedet.runtime.load import load_detector
from edgedet.spec import Preprocess, Spec
from edgedet.trt.manifest import BuildOptions
from edgedet.trt.versions import Version

SIDE = 96
needs_library = pytest.mark.skipif(not OPERATORS.exists(), reason=f"{OPERATORS} is not built: make operators")
SPEC = Spec(
    model="small", class_names=("a", "b", "c"), strides=(8, 16, 32, 64), preprocess=Preprocess(height=SIDE, width=SIDE)
)


@lru_cache
def small() -> Detector:
    return small_detector("gfl", 3).eval()


def gated(detector: Detector, gating: Gating, keep_float: tuple[str, ...] = ()) -> QuantizedDetector:
    """Open at a quarter of the places, of noise."""
    images = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    recipe = Recipe(keep_float=keep_float, gating=gating)
    made = quantize(detector, observe(detector, lambda: [(images, "noise")]), method="max", recipe=recipe)
    start_thresholds(made, images, 0.25)
    return made


def all_gates(detector: Detector, bits: int, high_bits: int, granularity: Granularity) -> Gating:
    layers = gateable(traced(detector))
    return Gating(layers=layers, bits=bits, high_bits=high_bits, granularity=granularity, tile=3)


Exporter = Callable[..., Export]


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Exporter:
    """Exports the small detector, once for the same settings."""

    @lru_cache
    def make(bits: int, high_bits: int, granularity: Granularity, gates: Gates = "gated") -> Export:
        detector = gated(small(), all_gates(small(), bits, high_bits, granularity))
        path = tmp_path_factory.mktemp("small") / "small.onnx"
        return export_onnx(detector, SPEC, path, target="ort-cpu", gates=gates)

    return make


def nodes_of(model: ModelProto, op_type: str) -> list[NodeProto]:
    return [node for node in model.graph.node if node.op_type == op_type]


def require_the_same_with_the_library(path: Path) -> None:
    stock, with_library = (load_detector(path, operators=operators) for operators in (None, OPERATORS))
    for seed in range(3):
        images = np.random.default_rng(seed).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)
        (boxes, scores), (expected_boxes, expected_scores) = with_library.infer(images), stock.infer(images)
        assert expected_scores.std() > 0
        np.testing.assert_allclose(boxes, expected_boxes, atol=0.1)
        np.testing.assert_allclose(scores, expected_scores, atol=1e-3)


class TestSmallDetector:
    @needs_library
    @pytest.mark.parametrize("granularity", ["element", "pixel", "tile"])
    @pytest.mark.parametrize(("bits", "high_bits"), [(8, 4), (6, 4)])
    def test_the_library_gives_what_the_bodies_give(
        self, export: Exporter, bits: int, high_bits: int, granularity: Granularity
    ) -> None:
        require_the_same_with_the_library(export(bits, high_bits, granularity).path)

    @pytest.mark.parametrize("granularity", ["element", "pixel", "tile"])
    def test_codes_of_8_bits_stay_bytes(self, export: Exporter, granularity: Granularity) -> None:
        result = export(8, 4, granularity)
        assert result.gates == "gated" and result.agreement.tolerance == INT8_TOLERANCE
        model = onnx.load(result.path)
        operators = nodes_of(model, QUANTIZED_OP_TYPE)
        assert len(operators) == len(gateable(traced(small())))
        assert not nodes_of(model, OP_TYPE) and not nodes_of(model, "Relu")
        assert {function.name for function in model.functions} == {OP_TYPE, QUANTIZED_OP_TYPE}
        assert result.findings == ()

    def test_of_fewer_bits_the_operator_stays_float(self, export: Exporter) -> None:
        result = export(6, 4, "pixel")
        model = onnx.load(result.path)
        assert nodes_of(model, OP_TYPE) and not nodes_of(model, QUANTIZED_OP_TYPE)
        assert [function.name for function in model.functions] == [OP_TYPE]
        assert {finding.rule for finding in result.findings} >= {FLOAT_ISLAND}

    def test_whole_inputs_need_no_operator(self, export: Exporter) -> None:
        model = onnx.load(export(8, 4, "pixel", gates="full").path)
        assert not model.functions and not nodes_of(model, "Relu")
        tensors = [node.input[0] for node in nodes_of(model, "QuantizeLinear")]
        assert len(tensors) == len(set(tensors)), "no tensor is quantized twice"


@needs_library
class TestFewBits:
    """Without gates, inputs of 4 bits, or of the 2 high ones, in graphs whose quantizers have 8."""

    @pytest.mark.parametrize("gates", ["full", "high"])
    @pytest.mark.parametrize("target", ["ort-cpu", "trt10"])
    def test_every_tensor_is_the_checkpoints(self, tmp_path: Path, target: str, gates: Literal["full", "high"]) -> None:
        detector = gated(small(), all_gates(small(), 4, 2, "pixel"))
        path = export_onnx(detector, SPEC, tmp_path / "x.onnx", target=target, gates=gates).path
        file = onnx_side(onnx.load(path), path)
        checkpoint = torch_side(collapsed(detector, gates), SPEC, Path("checkpoint"))
        found = compare_sides(checkpoint, file, inputs_for(checkpoint, file, images=verification_images(None)))
        assert len(found.tensors) > 50 and found.first is None, found.first

    @pytest.mark.parametrize("gates", ["full", "high"])
    def test_onnx_runtime_has_integer_kernels_for_them(self, export: Exporter, gates: Gates) -> None:
        result = export(4, 2, "pixel", gates=gates)
        assert result.kernels is not None and result.kernels.integer == result.kernels.quantized > 40
        model = onnx.load(result.path)
        assert not nodes_of(model, "Relu"), "a cut of codes bounds them below, too"
        ends = {name: int(value) for name, value in constants(model).items() if name.endswith("/high")}
        assert ends and set(ends.values()) <= {
            128 + highest for highest in (7, 15, *((1, 3) if gates == "high" else ()))
        }

    def test_floats_have_no_high_bits(self, tmp_path: Path) -> None:
        detector = gated(small(), all_gates(small(), 4, 2, "pixel"))
        with pytest.raises(EdgedetError, match="nothing is rounded in files for fp16") as caught:
            export_onnx(detector, SPEC, tmp_path / "x.onnx", target="fp16", gates="high")
        assert "ort-cpu" in str(caught.value.fix) and "fp32" not in str(caught.value.fix)


def test_a_high_and_a_low_byte_of_an_edge_that_is_not_rounded(tmp_path: Path) -> None:
    network = traced(small())
    edges = find_edges(network)
    layers = gateable(network)[-1:]
    edge = edge_read_by(layers[0], edges, network).name
    gating = Gating(layers=layers, bits=16, high_bits=8, granularity="pixel")
    detector = gated(small(), gating, keep_float=(edge,))
    result = export_onnx(detector, SPEC, tmp_path / "wide.onnx", target="ort-cpu", gates="gated")
    model = onnx.load(result.path)
    assert len(nodes_of(model, OP_TYPE)) == 1 and not nodes_of(model, QUANTIZED_OP_TYPE)
    require_the_same_with_the_library(result.path)


@pytest.fixture(scope="module")
def whole_network(tmp_path_factory: pytest.TempPathFactory) -> Export:
    detector, spec = find_model("shufflenetv2_0.5x", classes=3, size=(SIDE, SIDE))
    assert isinstance(detector, Detector)
    path = tmp_path_factory.mktemp("whole") / "shufflenet.onnx"
    quantized = gated(detector, all_gates(detector, 8, 4, "pixel"))
    return export_onnx(quantized, spec, path, target="ort-cpu", gates="gated")


class TestWholeNetwork:
    def test_nothing_is_float_between_integers(self, whole_network: Export) -> None:
        assert whole_network.findings == ()
        model = onnx.load(whole_network.path)
        assert len(nodes_of(model, QUANTIZED_OP_TYPE)) > 50 and not nodes_of(model, OP_TYPE)

    def test_both_kinds_of_bytes_are_read(self, whole_network: Export) -> None:
        model = onnx.load(whole_network.path)
        known = constants(model)
        made_by = {name: node for node in model.graph.node for name in node.output}
        zero_points = set[int]()
        for node in nodes_of(model, QUANTIZED_OP_TYPE):
            scale, high_scale, zero_point = (known[node.input[place]] for place in (1, 2, 8))
            zero_points.add(int(zero_point))
            assert high_scale == scale * np.float32(16)
            before = made_by[node.input[0]]
            if before.op_type == "QuantizeLinear":
                assert list(before.input[1:]) == [node.input[1], node.input[8]], "the grid that it really reads"
        assert zero_points == {0, 128}

    @needs_library
    def test_the_library_gives_what_the_bodies_give(self, whole_network: Export) -> None:
        require_the_same_with_the_library(whole_network.path)

    def test_a_checkpoint_is_compared_in_the_bits_that_the_file_has(self, tmp_path: Path) -> None:
        detector, spec = find_model("shufflenetv2_0.5x", classes=3, size=(SIDE, SIDE))
        assert isinstance(detector, Detector)
        quantized = gated(detector, all_gates(detector, 4, 2, "pixel"))
        checkpoint, high, with_gates = tmp_path / "x.pt", tmp_path / "high.onnx", tmp_path / "gated.onnx"
        save_checkpoint(checkpoint, quantized, spec)
        export_onnx(quantized, spec, high, target="trt10", gates="high")
        export_onnx(quantized, spec, with_gates, target="ort-cpu", gates="gated")
        found = compare_files(checkpoint, high)
        assert len(found.tensors) > 100 and found.first is None, found.first
        with pytest.raises(EdgedetError, match="cannot be compared") as caught:
            compare_files(with_gates, checkpoint)
        assert "--gates full" in str(caught.value.fix)
        assert compare_files(with_gates, with_gates).agrees


X_SCALE = 0.02
EIGHT_BITS = GatedConv()


def layer(x_scale: float = X_SCALE, gate: GatedConv = EIGHT_BITS, outputs: Sequence[str] = ("y",)) -> ModelProto:
    """One gated convolution between int8 quantizers, as in a master; of its values the named are outputs."""
    rng = np.random.default_rng(0)
    arrays = {
        "grid": np.float32(X_SCALE),
        "grid_of_y": np.float32(0.01),
        "zero": np.int8(0),
        "x_scale": np.float32(x_scale),
        "high_scale": np.float32(x_scale) * np.float32(gate.step),
        "weights": rng.integers(-64, 65, (3, 4, 1, 1)).astype(np.int8),
        "weight_scale": np.full(3, 0.004, np.float32),
        "threshold": np.full((3, 1, 1), 0.1, np.float32),
        "sign": np.ones((3, 1, 1), np.float32),
        "bias": np.array([0.1, -0.2, 0.3], np.float32),
    }
    attributes: dict[str, Any] = {"strides": [1, 1], "pads": [0, 0, 0, 0], "group": 1, **gate_attributes(gate)}
    inputs = ["real_x", *list(arrays)[3:]]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "grid", "zero"], ["x_codes"], "x/QuantizeLinear"),
        helper.make_node("DequantizeLinear", ["x_codes", "grid", "zero"], ["real_x"], "x/DequantizeLinear"),
        helper.make_node(OP_TYPE, inputs, ["raw"], f"conv/{OP_TYPE}", domain=DOMAIN, **attributes),
        helper.make_node("QuantizeLinear", ["raw", "grid_of_y", "zero"], ["y_codes"], "y/QuantizeLinear"),
        helper.make_node("DequantizeLinear", ["y_codes", "grid_of_y", "zero"], ["y"], "y/DequantizeLinear"),
    ]
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 5, 7])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 5, 7]) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=opsets, functions=[function_body(gate, 17)], ir_version=8)


class TestLayer:
    @pytest.mark.parametrize(
        ("change", "operator"),
        [
            ({}, QUANTIZED_OP_TYPE),
            ({"x_scale": X_SCALE * (1 + 1e-7)}, QUANTIZED_OP_TYPE),
            ({"x_scale": X_SCALE * 1.001}, OP_TYPE),
            ({"gate": GatedConv(low_bits=2, lowest=-32, highest=31)}, OP_TYPE),
            ({"gate": GatedConv(low_bits=8, lowest=-32768, highest=32639)}, OP_TYPE),
            ({"gate": GatedConv(lowest=0, highest=255)}, OP_TYPE),
            ({"outputs": ["y", "raw"]}, OP_TYPE),
        ],
    )
    def test_it_takes_bytes_where_they_are_its_codes(self, change: dict[str, Any], operator: str) -> None:
        master = layer(**change)
        lowered = lower_for_ort_cpu(master)
        onnx.checker.check_model(lowered, full_check=True)
        assert [node.op_type for node in lowered.graph.node if node.domain == DOMAIN] == [operator]
        x = np.random.default_rng(1).normal(size=(1, 4, 5, 7)).astype(np.float32)
        found, expected = (session(model).run(["y"], {"x": x})[0] for model in (lowered, master))
        assert np.ptp(expected) > 0.3
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.fixture(scope="module", params=["pixel", "tile"])
def for_tensorrt(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Export:
    detector = gated(small(), all_gates(small(), 8, 4, request.param))
    path = tmp_path_factory.mktemp("trt") / "small.onnx"
    return export_onnx(detector, SPEC, path, target="trt10", gates="gated", nms=request.param == "tile")


class TestTensorRT:
    def test_all_that_is_constant_is_in_the_nodes(self, for_tensorrt: Export) -> None:
        assert for_tensorrt.gates == "gated" and for_tensorrt.needs_plugin
        assert for_tensorrt.agreement.tolerance == INT8_TOLERANCE
        model = onnx.load(for_tensorrt.path)
        operators = nodes_of(model, OP_TYPE)
        assert len(operators) == len(gateable(traced(small()))) and not model.functions
        for node in operators:
            values = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
            outputs = values["weights_shape"][0]
            assert len(node.input) == 1 and values["plugin_version"] == b"1" and values["plugin_namespace"] == b""
            assert values["weights"].data_type == TensorProto.INT8
            assert numpy_helper.to_array(values["weights"]).size == np.prod(values["weights_shape"])
            for name in ("weight_scale", "threshold", "sign", "bias"):
                assert len(values[name]) == outputs

    def test_what_they_read_is_not_rounded_before(self, for_tensorrt: Export) -> None:
        model = onnx.load(for_tensorrt.path)
        made_by = {name: node.op_type for node in model.graph.node for name in node.output}
        assert {made_by.get(node.input[0]) for node in nodes_of(model, OP_TYPE)}.isdisjoint({"DequantizeLinear"})

    def test_tensorrt_is_given_the_nodes_and_onnx_runtime_the_operators(self, for_tensorrt: Export) -> None:
        """And these give what the file gave when it was checked."""
        network = read_network(for_tensorrt.path, Version(10, 3), BuildOptions(), verification_images(None))
        assert network.needs_operators and not network.model.functions
        (first,) = {len(node.input) for node in nodes_of(network.model, OP_TYPE)}
        (other,) = {len(node.input) for node in nodes_of(network.reference, OP_TYPE)}
        assert (first, other) == (1, 8)
        images = np.random.default_rng(0).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)
        assert all(np.isfinite(found).all() for found in session(network.reference).run(None, {"images": images}))
        decoding = {node.op_type for node in decoding_nodes(ir.from_proto(network.model).graph)}
        assert decoding.isdisjoint({OP_TYPE, "Conv", "Relu"})

    def test_there_and_back_is_the_same(self) -> None:
        for gate in (EIGHT_BITS, GatedConv(8, -32768, 32639, "tile", 3), GatedConv(2, 0, 63, "pixel")):
            model = lower_for_tensorrt(pooled(layer(gate=gate)))
            nodes = [node.op_type for node in model.graph.node]
            assert nodes == [OP_TYPE, "QuantizeLinear", "DequantizeLinear", "MaxPool"]
            again = with_functions(with_plugins(model))
            onnx.checker.check_model(again, full_check=True)
            x = np.random.default_rng(1).normal(size=(1, 4, 5, 7)).astype(np.float32)
            found, expected = (session(one).run(None, {"x": x})[0] for one in (again, model))
            assert np.ptp(expected) > 0.3
            np.testing.assert_array_equal(found, expected)

    def test_what_others_read_too_stays_rounded_for_them(self) -> None:
        model = pooled(layer())
        model.graph.node.append(helper.make_node("MaxPool", ["real_x"], ["pooled"], "other", kernel_shape=[1, 1]))
        model.graph.output.append(helper.make_tensor_value_info("pooled", TensorProto.FLOAT, [1, 4, 5, 7]))
        lowered = lower_for_tensorrt(model)
        (node,) = nodes_of(lowered, OP_TYPE)
        assert node.input[0] == "x"
        assert [one.input[0] for one in nodes_of(lowered, "QuantizeLinear")] == ["x", "raw"]

    def test_without_gates_nothing_changes(self) -> None:
        assert with_functions(detections_graph(DIoUNMS())) == detections_graph(DIoUNMS())


def pooled(model: ModelProto) -> ModelProto:
    """The layer with a reader of integers behind it: no quantizer is the graph's end."""
    model.graph.node[-1].output[0] = "real_y"
    model.graph.node.append(helper.make_node("MaxPool", ["real_y"], ["y"], "pool", kernel_shape=[1, 1]))
    return model


def session(model: ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


class TestRefusals:
    def test_a_float_detector(self, tmp_path: Path) -> None:
        with pytest.raises(EdgedetError, match="no gated convolutions") as caught:
            export_onnx(small(), SPEC, tmp_path / "x.onnx", gates="gated")
        assert "--pg" in str(caught.value.fix)

    @pytest.mark.parametrize("gates", ["gated", "high"])
    def test_a_detector_without_gates(self, tmp_path: Path, gates: Gates) -> None:
        with pytest.raises(EdgedetError, match="no gated convolutions"):
            detector = fit_to_noise(small(), SPEC.preprocess)
            export_onnx(detector, SPEC, tmp_path / "x.onnx", target="ort-cpu", gates=gates)

    @pytest.mark.parametrize("target", ["master", "trt11", "fp32"])
    def test_a_target_without_gates(self, tmp_path: Path, target: str) -> None:
        detector = gated(small(), all_gates(small(), 8, 4, "pixel"))
        with pytest.raises(EdgedetError, match=f"no part of files for {target}") as caught:
            export_onnx(detector, SPEC, tmp_path / "x.onnx", target=target, gates="gated")
        assert "--target ort-cpu or trt8 or trt10" in str(caught.value.fix)
        assert not list(tmp_path.iterdir())
