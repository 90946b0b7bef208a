"""What each target's graph keeps of the master's quantizers."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from int8_masters import FAMILIES, SIDE, activation_quantizers, constants, master_of
from onnx import ModelProto, NodeProto, numpy_helper

from edgedet.graph.export import master_graph
from edgedet.graph.metadata import read_metadata
from edgedet.graph.source import find_model
from edgedet.graph.targets import TARGETS, lower
from edgedet.models.detector import Detector
from edgedet.quant.calibrate import fit_to_noise

IMAGES = np.random.default_rng(2).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)


@pytest.fixture(params=FAMILIES)
def master(request: pytest.FixtureRequest) -> ModelProto:
    return master_of(request.param)


class Graph:
    """A model's nodes by what they give and who reads them."""

    def __init__(self, model: ModelProto) -> None:
        self.nodes = list(model.graph.node)
        self.constants = constants(model)
        self.maker = {name: node for node in self.nodes for name in node.output}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def made_by(self, name: str) -> str:
        return self.maker[name].op_type if name in self.maker else "input"

    def before_pooling(self, name: str) -> str:
        """The tensor itself, or what is pooled to it: pooling commutes with a quantizer."""
        return self.maker[name].input[0] if self.made_by(name) == "MaxPool" else name

    def scale_behind(self, name: str) -> float:
        """Of the dequantizer that gives a tensor."""
        assert self.made_by(name) == "DequantizeLinear", name
        return float(self.constants[self.maker[name].input[1]])


def emulated(model: ModelProto) -> list[np.ndarray]:
    """In float, quantizers as nodes of their own."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(["boxes", "scores"], {"images": IMAGES})


@pytest.mark.parametrize("target", TARGETS)
def test_every_lowering_is_pure_valid_and_keeps_the_metadata(master: ModelProto, target: str) -> None:
    before = master.SerializeToString()
    lowered = lower(master, target)
    assert master.SerializeToString() == before
    onnx.checker.check_model(lowered, full_check=True)
    assert lower(master, target).SerializeToString() == lowered.SerializeToString()
    assert [(entry.domain, entry.version) for entry in lowered.opset_import] == [("", 17)]
    assert not lowered.functions
    assert read_metadata(lowered) == read_metadata(master)
    for before_value, after_value in zip(
        [*master.graph.input, *master.graph.output], [*lowered.graph.input, *lowered.graph.output], strict=True
    ):
        assert (before_value.name, before_value.type) == (after_value.name, after_value.type)


@pytest.mark.parametrize("target", [target for target in TARGETS if target != "fp32"])
def test_no_lowering_adds_a_quantizer(master: ModelProto, target: str) -> None:
    assert set(activation_quantizers(lower(master, target))) <= set(activation_quantizers(master))


@pytest.mark.parametrize("target", ["trt8", "trt10"])
class TestTensorRT:
    def test_grids_are_the_masters(self, master: ModelProto, target: str) -> None:
        lowered = lower(master, target)
        old, new = constants(master), constants(lowered)
        before, after = activation_quantizers(master), activation_quantizers(lowered)
        for name, node in after.items():
            assert new[node.input[1]] == old[before[name].input[1]]
            assert new[node.input[2]].dtype == np.int8 and not new[node.input[2]].any()

    def test_both_inputs_of_every_convolution_are_quantized(self, master: ModelProto, target: str) -> None:
        graph = Graph(lower(master, target))
        for node in graph.nodes:
            if node.op_type == "Conv":
                assert graph.made_by(graph.before_pooling(node.input[0])) == "DequantizeLinear", node.name
                is_logits = node.name.startswith("head.outputs")
                assert (graph.made_by(node.input[1]) == "DequantizeLinear") != is_logits, node.name
                if not is_logits:
                    scales = graph.constants[graph.maker[node.input[1]].input[1]]
                    assert scales.shape == (graph.constants[node.input[2]].shape[0],), "a scale a channel"

    def test_a_tensor_has_one_quantizer(self, master: ModelProto, target: str) -> None:
        graph = Graph(lower(master, target))
        for name in graph.readers.keys() - graph.constants.keys():
            kinds = [node.op_type for node in graph.readers[name]]
            if "QuantizeLinear" in kinds:
                assert kinds == ["QuantizeLinear"], f"nobody reads {name} around its quantizer"

    def test_nothing_is_quantized_behind_pooling(self, master: ModelProto, target: str) -> None:
        graph = Graph(lower(master, target))
        pools = [node for node in graph.nodes if node.op_type == "MaxPool"]
        assert bool(pools) == (master.graph.name != "mobilenetv2_0.35")
        for node in pools:
            assert graph.made_by(node.input[0]) == "DequantizeLinear"
            assert "QuantizeLinear" not in [reader.op_type for reader in graph.readers[node.output[0]]]

    def test_joins_have_one_scale(self, master: ModelProto, target: str) -> None:
        graph = Graph(lower(master, target))
        quantized = [
            (node, reader)
            for node in graph.nodes
            if node.op_type == "Concat"
            for reader in graph.readers.get(node.output[0], [])
            if reader.op_type == "QuantizeLinear"
        ]
        assert bool(quantized) == (master.graph.name != "mobilenetv2_0.35")
        for node, reader in quantized:
            outgoing = float(graph.constants[reader.input[1]])
            for name in node.input:
                assert graph.scale_behind(graph.before_pooling(name)) == outgoing

    def test_of_a_residual_sum_the_identity_is_quantized(self, master: ModelProto, target: str) -> None:
        graph = Graph(lower(master, target))
        sums = [node for node in graph.nodes if node.op_type == "Add" and node.name.startswith("backbone")]
        assert bool(sums) == (master.graph.name == "mobilenetv2_0.35")
        for node in sums:
            assert sorted(graph.made_by(name) for name in node.input) == ["Conv", "DequantizeLinear"], node.name

    def test_it_computes_what_the_master_does(self, master: ModelProto, target: str) -> None:
        for found, expected, tolerance in zip(
            emulated(lower(master, target)), emulated(master), (2.0, 0.02), strict=True
        ):
            assert np.quantile(np.abs(found - expected), 0.999) < tolerance


@pytest.mark.parametrize("activation", ["leaky_relu", "swish"])
def test_for_tensorrt_nothing_stands_between_a_convolution_and_its_activation(activation: str) -> None:
    detector, spec = find_model("mobilenetv2_0.35", classes=3, size=(SIDE, SIDE), activation=activation)
    assert isinstance(detector, Detector)
    master = master_graph(fit_to_noise(detector, spec.preprocess), spec, batch=1, dynamic_batch=False)
    kinds = {"leaky_relu": ["LeakyRelu"], "swish": ["Sigmoid", "Mul"]}[activation]
    for model, between in ((master, True), (lower(master, "trt10"), False)):
        graph = Graph(model)
        read = [
            graph.made_by(name)
            for node in graph.nodes
            if node.op_type in kinds and node.name.startswith("backbone")
            for name in node.input
            if graph.made_by(name) != "Sigmoid"
        ]
        assert read and set(read) == {"DequantizeLinear" if between else "Conv"}


def test_without_quantizers_it_is_the_float_detector(master: ModelProto) -> None:
    lowered = lower(master, "fp32")
    kinds = Counter(node.op_type for node in lowered.graph.node)
    assert not kinds["QuantizeLinear"] and not kinds["DequantizeLinear"]
    assert all(numpy_helper.to_array(tensor).dtype != np.int8 for tensor in lowered.graph.initializer)
    detector, spec = find_model(str(master.graph.name), classes=3, size=(SIDE, SIDE))
    float_master = master_graph(detector, spec, batch=1, dynamic_batch=False)
    assert kinds == Counter(node.op_type for node in float_master.graph.node)
    for found, expected in zip(emulated(lowered), emulated(float_master), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)
