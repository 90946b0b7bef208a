"""Types, node by node, of the graphs in float16, and values that float16 does not hold."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from float16_graphs import FLOAT, FLOAT16, IMAGES, emulated, lowered_of, ranges_for, types_of
from int8_masters import FAMILIES, constants, master_of
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgedet.graph.lowerings.float16 import to_float16
from edgedet.graph.lowerings.float32_nodes import LARGEST_PEAK, SMALLEST_PEAK, names_of_unsafe
from edgedet.graph.scan import largest_values
from edgedet.graph.targets import lower
from edgedet.graph.verify import Images
from edgedet.spec import Preprocess, Spec

SIDE, CHANNELS = 32, 4
SPEC = Spec(model="chain", class_names=("a",), strides=(32,), preprocess=Preprocess(height=SIDE, width=SIDE))
PICTURES = Images(
    "noise", tuple(np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8) for seed in range(3))
)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def makers(model: ModelProto) -> dict[str, NodeProto]:
    return {name: node for node in model.graph.node for name in node.output}


def readers(model: ModelProto, name: str) -> list[NodeProto]:
    return [node for node in model.graph.node if name in node.input]


def by_kind(model: ModelProto, *kinds: str) -> list[NodeProto]:
    found = [node for node in model.graph.node if node.op_type in kinds]
    assert found
    return found


class TestTypes:
    """Of the three families, whose values all fit: what stays float32 does so for what it is."""

    @pytest.mark.parametrize("target", ["fp16", "trt11"])
    def test_convolutions_are_float16_and_the_decoding_is_float32(self, family: str, target: str) -> None:
        model = lowered_of(family, target)
        types, made_by = types_of(model), makers(model)
        for node in by_kind(model, "Conv"):
            assert {types[name] for name in [*node.input, *node.output]} == {FLOAT16}, node.name
        decoding = ["ReduceMax", "Exp", "Sigmoid", "Mul", "ReduceSum", "Sub", "Div"]
        for node in by_kind(model, *decoding):
            floats = [name for name in [*node.input, *node.output] if types[name] != TensorProto.INT64]
            assert {types[name] for name in floats} == {FLOAT}, node.name
        for node in by_kind(model, "Relu", "Clip", "Add", "Resize", "Split", "MaxPool"):
            expected = FLOAT if node.name.startswith("decode/") else FLOAT16
            assert types[node.input[0]] == types[node.output[0]] == expected, node.name
        # The first of the decoding's transposes only moves what the convolutions give, the last makes the boxes.
        moves = [node for node in by_kind(model, "Transpose") if node.name.startswith("decode/")]
        assert [types[node.input[0]] for node in moves] == [FLOAT16, FLOAT]
        assert types["images"] == types["boxes"] == types["scores"] == FLOAT
        assert made_by["boxes"].op_type == "Transpose"
        assert made_by["scores"].op_type == "Sigmoid"

    @pytest.mark.parametrize(("target", "of_images"), [("fp16", 1), ("trt11", 0)])
    def test_casts_lie_at_the_boundary_alone(self, family: str, target: str, of_images: int) -> None:
        model = lowered_of(family, target)
        casts = by_kind(model, "Cast")
        behind = [reader.op_type for node in casts for reader in readers(model, node.output[0])]
        assert sorted(behind) == ["Conv"] * of_images + ["ReduceMax", "Sigmoid", "Sub"]
        assert [node.input[0] for node in casts if node.input[0] == "images"] == ["images"] * of_images

    def test_every_quantizer_of_a_tensor_between_nodes_is_float16(self, family: str) -> None:
        model = lowered_of(family, "trt11")
        types, known = types_of(model), constants(model)
        quantizers = by_kind(model, "QuantizeLinear")
        of_images = [node for node in quantizers if node.input[0] == "images"]
        assert len(of_images) == 1
        assert types[of_images[0].input[1]] == FLOAT, "the images come in float32"
        for node in quantizers:
            assert types[node.input[0]] == types[node.input[1]], node.name
            assert (types[node.input[1]] == FLOAT16) != (node in of_images), node.name
            assert known[node.input[2]].dtype == np.int8 and not known[node.input[2]].any()
        for node in by_kind(model, "DequantizeLinear"):
            assert types[node.input[1]] == types[node.output[0]] == FLOAT16, node.name
            assert known[node.input[2]].dtype == np.int8 and not known[node.input[2]].any()

    @pytest.mark.parametrize("target", ["fp16", "trt11"])
    def test_constants_keep_their_names_and_what_the_file_says_is_true(self, family: str, target: str) -> None:
        model = lowered_of(family, target)
        names = {tensor.name for tensor in model.graph.initializer}
        assert names <= {tensor.name for tensor in master_of(family).graph.initializer} | {
            name
            for name in names
            if name.endswith("scale/float16")  # of the images, there in float32 too
        }
        types = types_of(model)
        for value in model.graph.value_info:
            assert value.type.tensor_type.elem_type == types[value.name], value.name

    def test_it_computes_what_tensorrt_10_gets(self, family: str) -> None:
        pairs = zip(emulated(lowered_of(family, "trt11")), emulated(lowered_of(family, "trt10")), strict=True)
        for (found, expected), tolerance in zip(pairs, (2.0, 0.02), strict=True):
            assert found.dtype == np.float32
            assert np.quantile(np.abs(found - expected), 0.999) < tolerance

    def test_without_quantizers_it_computes_what_float32_gets(self, family: str) -> None:
        model = lowered_of(family, "fp16")
        assert not {node.op_type for node in model.graph.node} & {"QuantizeLinear", "DequantizeLinear"}
        for found, expected, tolerance in zip(
            emulated(model), emulated(lowered_of(family, "fp32")), (0.02, 2e-4), strict=True
        ):
            assert 0 < np.abs(found - expected).max() < tolerance


class Chain:
    """Three convolutions, `a`, `b` and `c`, with ReLU between, and a sigmoid: `images` to `scores` `[1, 1, 32, 32]`.

    Args:
        gain: of the values between `a` and `b`, which `b` takes back: what comes out does not depend on it.
        quantized: whether the inputs of the convolutions are.
        side: Add or Concat, which joins the result of `b` with that of another convolution, `side`, of the same input.
    """

    def __init__(self, gain: float = 1.0, *, quantized: bool = False, side: str | None = None) -> None:
        self.quantized = quantized
        self.constants: dict[str, np.ndarray] = {}
        self.nodes: list[NodeProto] = []
        rng = np.random.default_rng(0)
        weights = {name: rng.normal(size=(CHANNELS, CHANNELS, 1, 1)) / 2 for name in ("b", "side")}
        weights["a"] = rng.normal(size=(CHANNELS, 3, 1, 1)) * gain
        weights["c"] = rng.normal(size=(1, CHANNELS * (1 + (side == "Concat")), 1, 1))
        for name in ("b", "side"):
            weights[name] /= gain
        edge = self.relu(self.conv("a", self.rounded("images", 3.0), weights["a"]))
        edge = self.rounded(edge, 10.0 * gain)
        result = self.relu(self.conv("b", edge, weights["b"]))
        if side is not None:
            inputs = [result, self.conv("side", edge, weights["side"])]
            axis = {"axis": 1} if side == "Concat" else {}
            self.nodes.append(helper.make_node(side, inputs, ["joined"], f"joined/{side}", **axis))
            result = "joined"
        logits = self.conv("c", self.rounded(result, 10.0), weights["c"])
        self.nodes.append(helper.make_node("Sigmoid", [logits], ["scores"], "decode/Sigmoid"))
        self.model = self.build()

    def conv(self, name: str, source: str, weight: np.ndarray) -> str:
        self.constants[f"{name}.weight"] = weight.astype(np.float32)
        reads = f"{name}.weight"
        if self.quantized:
            reads = self.rounded(reads, np.abs(weight).max(axis=(1, 2, 3)).astype(np.float32))
        self.nodes.append(helper.make_node("Conv", [source, reads], [f"{name}/out"], f"{name}/Conv"))
        return f"{name}/out"

    def relu(self, source: str) -> str:
        name = source.removesuffix("/out")
        self.nodes.append(helper.make_node("Relu", [source], [f"{name}/relu"], f"{name}/Relu"))
        return f"{name}/relu"

    def rounded(self, source: str, largest: float | np.ndarray) -> str:
        if not self.quantized:
            return source
        step = np.asarray(largest, np.float32) / np.float32(127)
        self.constants |= {f"{source}.scale": step, f"{source}.zero": np.zeros(step.shape, np.int8)}
        axis = {"axis": 0} if step.ndim else {}
        for operator, read, given in (("Quantize", source, "codes"), ("Dequantize", f"{source}/codes", "rounded")):
            inputs = [read, f"{source}.scale", f"{source}.zero"]
            name = f"{source}/{operator}"
            self.nodes.append(helper.make_node(f"{operator}Linear", inputs, [f"{source}/{given}"], name, **axis))
        return f"{source}/rounded"

    def build(self) -> ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "chain",
            [helper.make_tensor_value_info("images", FLOAT, [1, 3, SIDE, SIDE])],
            [helper.make_tensor_value_info("scores", FLOAT, [1, 1, SIDE, SIDE])],
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)

    def small_ranges(self, **others: float) -> dict[str, float]:
        """As if every tensor fitted, but for `others` (`/` written `__`)."""
        ones = {name: 1.0 for name, kind in types_of(self.model).items() if kind == FLOAT}
        return ones | {name.replace("__", "/"): value for name, value in others.items()}


def scores(model: ModelProto) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    images = IMAGES[:, :, :SIDE, :SIDE]
    return session.run(None, {"images": images})[0]


class TestRanges:
    @pytest.mark.parametrize("quantized", [False, True])
    @pytest.mark.parametrize("gain", [3e5, 1e-8])
    def test_what_float16_does_not_hold_is_computed_in_float32(self, gain: float, quantized: bool) -> None:
        chain = Chain(gain, quantized=quantized)
        expected = scores(chain.model)
        np.testing.assert_allclose(expected, scores(Chain(quantized=quantized).model), atol=0.02)
        ranges = largest_values(chain.model, SPEC, PICTURES)
        lowered = to_float16(chain.model, ranges)
        onnx.checker.check_model(lowered, full_check=True)
        np.testing.assert_allclose(scores(lowered), expected, atol=0.03 if quantized else 2e-3)
        assert names_of_unsafe(chain.model, ranges) == ("a/Conv", "a/Relu", "b/Conv", "b/Relu")
        types = types_of(lowered)
        assert types["a/out"] == types["a/relu"] == types["b/out"] == FLOAT
        assert types["c/out"] == FLOAT16
        if quantized:
            assert {types[f"a/relu.scale{end}"] for end in ("", "/float16") if f"a/relu.scale{end}" in types} == {FLOAT}

    @pytest.mark.parametrize("gain", [3e5, 1e-8])
    def test_without_that_it_would_be_wrong(self, gain: float) -> None:
        """So the test above can fail: the convolution's result overflows, or what it reads is zero."""
        chain = Chain(gain)
        wrong = scores(_blindly_in_float16(chain.model))
        assert not np.allclose(wrong, scores(chain.model), atol=0.1)

    @pytest.mark.parametrize(
        ("peak", "safe"),
        [
            (LARGEST_PEAK, True),
            (LARGEST_PEAK * 1.001, False),
            (SMALLEST_PEAK, True),
            (SMALLEST_PEAK * 0.999, False),
            (0.0, True),
            (float("nan"), False),
            (float("inf"), False),
        ],
    )
    def test_the_ends(self, peak: float, safe: bool) -> None:
        chain = Chain()
        assert (names_of_unsafe(chain.model, chain.small_ranges(c__out=peak)) == ()) == safe

    def test_the_ends_leave_a_margin_of_four(self) -> None:
        half = np.finfo(np.float16)
        assert LARGEST_PEAK * 4 >= float(half.max) > LARGEST_PEAK * 3.9
        assert 4 * half.smallest_normal == SMALLEST_PEAK

    def test_a_tensor_without_a_range_is_an_error(self) -> None:
        chain = Chain()
        ranges = chain.small_ranges()
        del ranges["b/out"]
        with pytest.raises(KeyError, match="b/out"):
            to_float16(chain.model, ranges)
        with pytest.raises(ValueError, match="needs the ranges"):
            lower(chain.model, "fp16")

    def test_constants_that_float16_does_not_hold(self) -> None:
        """Whatever the tensors are: `a` has weights of millions, `b` of some billionths."""
        chain = Chain(1e9)
        assert names_of_unsafe(chain.model, chain.small_ranges()) == ("a/Conv", "a/Relu", "b/Conv", "b/Relu")


class TestSteps:
    @pytest.mark.parametrize("step", [1e-8, 2.0**-15, 600.0])
    def test_weights_on_steps_that_float16_does_not_hold(self, step: float) -> None:
        """One channel's is enough; the convolution is float32 up to its quantizer, and the grid stays what it was."""
        model = Chain(quantized=True).model
        (scale,) = (tensor for tensor in model.graph.initializer if tensor.name == "b.weight.scale")
        (weight,) = (tensor for tensor in model.graph.initializer if tensor.name == "b.weight")
        steps, values = (numpy_helper.to_array(tensor).copy() for tensor in (scale, weight))
        values[1] *= step / steps[1]
        steps[1] = step
        scale.CopyFrom(numpy_helper.from_array(steps, scale.name))
        weight.CopyFrom(numpy_helper.from_array(values, weight.name))
        ranges = largest_values(model, SPEC, PICTURES)
        lowered = to_float16(model, ranges)
        types, made_by = types_of(lowered), makers(lowered)
        np.testing.assert_array_equal(constants(lowered)["b.weight.scale"], steps)
        assert {types[name] for name in makers(lowered)["b/out"].input} == {FLOAT}
        assert types["b/relu"] == FLOAT
        assert "Cast" not in {made_by[name].op_type for name in made_by["b/out"].input}
        (quantizer,) = readers(lowered, "b/relu")
        assert quantizer.op_type == "QuantizeLinear"
        assert types["b/relu/rounded"] == FLOAT16
        np.testing.assert_allclose(scores(lowered), scores(model), atol=0.03)

    def test_channels_that_training_switched_off(self) -> None:
        """Their weights are nothing beside the others', their steps below what float16 holds."""
        master = ModelProto()
        master.CopyFrom(master_of("mobilenetv2_0.35"))
        scale = "backbone.features.3.conv.0.0/QuantizeLinear/y_scale"
        weight = "backbone.features.3.conv.0.0.weight"
        for tensor in master.graph.initializer:
            if tensor.name in (scale, weight):
                array = numpy_helper.to_array(tensor).copy()
                array[::4] *= 1e-6
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        lowered = lower(master, "trt11", ranges_for(master, "trt11"))
        kept = [node.name for node in lowered.graph.node if node.op_type == "Conv"]
        types = types_of(lowered)
        in_float32 = [name for name in kept if types[makers(lowered)[f"{name}_output"].input[0]] == FLOAT]
        assert in_float32 == ["backbone.features.3.conv.0.0/Conv"]
        pairs = zip(emulated(lowered), emulated(lower(master, "trt10")), strict=True)
        for (found, expected), tolerance in zip(pairs, (2.0, 0.02), strict=True):
            assert np.quantile(np.abs(found - expected), 0.999) < tolerance


class TestBothKinds:
    def test_what_both_kinds_read_has_a_dequantizer_for_each(self) -> None:
        chain = Chain(quantized=True, side="Concat")
        lowered = to_float16(chain.model, chain.small_ranges(side__out=1e5))
        onnx.checker.check_model(lowered, full_check=True)
        types = types_of(lowered)
        (quantizer,) = readers(lowered, "a/relu")
        names = {
            types[node.output[0]]: [reader.name for reader in readers(lowered, node.output[0])]
            for node in readers(lowered, quantizer.output[0])
        }
        assert names == {FLOAT16: ["b/Conv"], FLOAT: ["side/Conv"]}
        np.testing.assert_allclose(scores(lowered), scores(chain.model), atol=0.03)

    def test_what_runs_as_one_has_one_type(self) -> None:
        """A sum runs as part of the convolutions before it; a cast between would keep them apart."""
        chain = Chain(quantized=True, side="Add")
        lowered = to_float16(chain.model, chain.small_ranges(side__out=1e5))
        types = types_of(lowered)
        assert {types[name] for name in ("b/out", "b/relu", "side/out", "joined")} == {FLOAT}
        casts = [node.input[0] for node in lowered.graph.node if node.op_type == "Cast"]
        assert casts == ["c/out"], "of the logits alone"
        np.testing.assert_allclose(scores(lowered), scores(chain.model), atol=0.03)

    def test_what_both_kinds_read_is_cast_once(self) -> None:
        chain = Chain(side="Concat")
        lowered = to_float16(chain.model, chain.small_ranges(a__out=1e5))
        onnx.checker.check_model(lowered, full_check=True)
        casts = [node for node in by_kind(lowered, "Cast") if node.input[0] == "a/relu"]
        names = [[reader.name for reader in readers(lowered, node.output[0])] for node in casts]
        assert names == [["b/Conv", "side/Conv"]]

    def test_a_constant_that_both_kinds_read_is_there_in_both(self) -> None:
        chain = Chain(side="Concat")
        model = chain.model
        (side,) = (node for node in model.graph.node if node.name == "side/Conv")
        side.input[1] = "b.weight"
        lowered = to_float16(model, chain.small_ranges(side__out=1e5))
        known = constants(lowered)
        assert known["b.weight"].dtype == np.float32
        assert known["b.weight/float16"].dtype == np.float16
        np.testing.assert_allclose(scores(lowered), scores(model), atol=2e-3)

    def test_outputs_are_float32_even_of_a_convolution(self) -> None:
        model = Chain().model
        sigmoid = model.graph.node.pop()
        conv = model.graph.node[-1]
        conv.output[0] = "scores"
        ranges = {name: 1.0 for name, kind in types_of(model).items() if kind == FLOAT}
        lowered = to_float16(model, ranges)
        onnx.checker.check_model(lowered, full_check=True)
        assert sigmoid.op_type == "Sigmoid"
        assert types_of(lowered)["scores"] == FLOAT
        assert makers(lowered)["scores"].op_type == "Cast"
        assert types_of(lowered)[makers(lowered)["scores"].input[0]] == FLOAT16
        np.testing.assert_allclose(scores(lowered), scores(model), rtol=0.01, atol=0.01)


def _blindly_in_float16(model: ModelProto) -> ModelProto:
    """The same float graph with every tensor in float16 but its input and output."""
    result = ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    del graph.value_info[:]
    with np.errstate(over="ignore"):
        for tensor in graph.initializer:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for node in graph.node:
        node.input[:] = [{"images": "images16"}.get(name, name) for name in node.input]
        node.output[:] = [{"scores": "scores16"}.get(name, name) for name in node.output]
    graph.node.insert(0, helper.make_node("Cast", ["images"], ["images16"], to=FLOAT16))
    graph.node.append(helper.make_node("Cast", ["scores16"], ["scores"], to=FLOAT))
    return result
