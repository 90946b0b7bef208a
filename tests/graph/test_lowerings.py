"""What each target's graph keeps of the master's quantizers."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from float16_graphs import emulated, lowered_of, ranges_for
from int8_masters import FAMILIES, SIDE, activation_quantizers, constants, master_of
from onnx import ModelProto, NodeProto, numpy_helper

from edgedet.graph.export import master_graph
from edgedet.graph.metadata import read_metadata
from edgedet.graph.source import find_model
from edgedet.graph.targets import TARGETS, lower
from edgedet.models.detector import Detector
from edgedet.quant.calibrate import fit_to_noise

TENSORRT = ["trt8", "trt10", "trt11"]


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


def lowered_for(master: ModelProto, target: str) -> ModelProto:
    return lowered_of(str(master.graph.name), target)


@pytest.mark.parametrize("target", TARGETS)
def test_every_lowering_is_pure_valid_and_keeps_the_metadata(master: ModelProto, target: str) -> None:
    before, ranges = master.SerializeToString(), ranges_for(master, target)
    lowered = lower(master, target, ranges)
    assert master.SerializeToString() == before
    onnx.checker.check_model(lowered, full_check=True)
    assert lower(master, target, ranges).SerializeToString() == lowered.SerializeToString()
    opset, ir_version = (19, 9) if target == "trt11" else (17, 8)
    assert [(entry.domain, entry.version) for entry in lowered.opset_import] == [("", opset)]
    assert lowered.ir_version == ir_version
    assert not lowered.functions
    assert read_metadata(lowered) == read_metadata(master)
    for before_value, after_value in zip(
        [*master.graph.input, *master.graph.output], [*lowered.graph.input, *lowered.graph.output], strict=True
    ):
        assert (before_value.name, before_value.type) == (after_value.name, after_value.type)


@pytest.mark.parametrize("target", TARGETS)
def test_no_lowering_adds_a_quantizer(master: ModelProto, target: str) -> None:
    after = set(activation_quantizers(lowered_for(master, target)))
    assert after <= set(activation_quantizers(master))
    assert bool(after) != target.startswith("fp")


@pytest.mark.parametrize("target", [target for target in TARGETS if not target.startswith("fp")])
def test_no_lowering_coarsens_a_grid(master: ModelProto, target: str) -> None:
    """Steps of quantizers and of dequantizers; a step in float16 is the nearest number there."""
    lowered = lowered_for(master, target)
    old, new = constants(master), constants(lowered)
    before = {node.output[0]: old[node.input[1]] for node in activation_quantizers(master).values()}
    checked = 0
    for node in [node for node in lowered.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]:
        name = node.output[0] if node.op_type == "QuantizeLinear" else node.input[0]
        if name in before:
            step = new[node.input[1]]
            allowed = before[name] * (1 + 2**-11) if step.dtype == np.float16 else before[name]
            assert step <= allowed, node.name
            checked += 1
    # What goes through the packing of pixels is dequantized under another name.
    renamed = [node for node in lowered.graph.node if node.name.endswith("packed/0/Transpose")]
    assert checked >= 2 * len(activation_quantizers(lowered)) - len(renamed) > 0


@pytest.mark.parametrize("target", TENSORRT)
def test_the_integers_of_the_weights_are_the_masters(master: ModelProto, target: str) -> None:
    """As QuantizeLinear computes them, in the type of its inputs."""

    def integers(model: ModelProto) -> dict[str, np.ndarray]:
        known, found = constants(model), {}
        for node in model.graph.node:
            if node.op_type == "QuantizeLinear" and node.input[0] in known:
                weight, step = known[node.input[0]], known[node.input[1]].reshape(-1, 1, 1, 1)
                assert weight.dtype == step.dtype
                found[node.output[0]] = np.clip(np.rint(weight / step), -128, 127)
        return found

    expected, found = integers(master), integers(lowered_for(master, target))
    assert expected.keys() == found.keys() and expected
    for name, codes in expected.items():
        np.testing.assert_array_equal(found[name], codes, err_msg=name)


@pytest.mark.parametrize("target", TENSORRT)
class TestTensorRT:
    def test_grids_are_the_masters(self, master: ModelProto, target: str) -> None:
        lowered = lowered_for(master, target)
        old, new = constants(master), constants(lowered)
        before, after = activation_quantizers(master), activation_quantizers(lowered)
        for name, node in after.items():
            step = old[before[name].input[1]]
            assert new[node.input[1]] in (step, step.astype(np.float16) if target == "trt11" else step)
            assert new[node.input[2]].dtype == np.int8 and not new[node.input[2]].any()

    def test_both_inputs_of_every_convolution_are_quantized(self, master: ModelProto, target: str) -> None:
        graph = Graph(lowered_for(master, target))
        for node in graph.nodes:
            if node.op_type == "Conv":
                assert graph.made_by(graph.before_pooling(node.input[0])) == "DequantizeLinear", node.name
                assert graph.made_by(node.input[1]) == "DequantizeLinear", node.name
                scales = graph.constants[graph.maker[node.input[1]].input[1]]
                assert scales.shape == (graph.constants[node.input[2]].shape[0],), "a scale a channel"

    def test_a_tensor_has_one_quantizer(self, master: ModelProto, target: str) -> None:
        graph = Graph(lowered_for(master, target))
        for name in graph.readers.keys() - graph.constants.keys():
            kinds = [node.op_type for node in graph.readers[name]]
            if "QuantizeLinear" in kinds:
                assert kinds == ["QuantizeLinear"], f"nobody reads {name} around its quantizer"

    def test_nothing_is_quantized_behind_pooling(self, master: ModelProto, target: str) -> None:
        graph = Graph(lowered_for(master, target))
        pools = [node for node in graph.nodes if node.op_type == "MaxPool"]
        assert bool(pools) == (master.graph.name != "mobilenetv2_0.35")
        for node in pools:
            assert graph.made_by(node.input[0]) == "DequantizeLinear"
            assert "QuantizeLinear" not in [reader.op_type for reader in graph.readers[node.output[0]]]

    def test_joins_have_one_scale(self, master: ModelProto, target: str) -> None:
        graph = Graph(lowered_for(master, target))
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
        graph = Graph(lowered_for(master, target))
        sums = [node for node in graph.nodes if node.op_type == "Add" and node.name.startswith("backbone")]
        assert bool(sums) == (master.graph.name == "mobilenetv2_0.35")
        for node in sums:
            assert sorted(graph.made_by(name) for name in node.input) == ["Conv", "DequantizeLinear"], node.name

    def test_it_computes_what_the_master_does(self, master: ModelProto, target: str) -> None:
        for found, expected, tolerance in zip(
            emulated(lowered_for(master, target)), emulated(master), (2.0, 0.02), strict=True
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
    lowered = lowered_for(master, "fp32")
    kinds = Counter(node.op_type for node in lowered.graph.node)
    assert not kinds["QuantizeLinear"] and not kinds["DequantizeLinear"]
    assert all(numpy_helper.to_array(tensor).dtype != np.int8 for tensor in lowered.graph.initializer)
    detector, spec = find_model(str(master.graph.name), classes=3, size=(SIDE, SIDE))
    float_master = master_graph(detector, spec, batch=1, dynamic_batch=False)
    assert kinds == Counter(node.op_type for node in float_master.graph.node)
    for found, expected in zip(emulated(lowered), emulated(float_master), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)
