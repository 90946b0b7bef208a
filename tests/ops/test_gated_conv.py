"""The gated convolution: the reference against loops and the paper's identities, PyTorch against the reference."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nms_implementations import OPERATORS
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional

from edgedet.errors import EdgedetError
from edgedet.ops.gated_conv import pytorch
from edgedet.ops.gated_conv.body import (
    DOMAIN,
    OP_TYPE,
    QUANTIZED_OP_TYPE,
    function_body,
    gate_attributes,
    quantized_body,
)
from edgedet.ops.gated_conv.definition import GatedConv, average_bits
from edgedet.ops.gated_conv.reference import folded, gated_conv, split

UNSIGNED = GatedConv(lowest=0, highest=255)
GATES = [
    GatedConv(),
    UNSIGNED,
    GatedConv(low_bits=2, granularity="pixel"),
    GatedConv(lowest=0, highest=15, low_bits=2, granularity="tile", tile=3),
]
WIDE = GatedConv(low_bits=8, lowest=-32768, highest=32639, granularity="pixel")
"""A high and a low byte."""
Scene = dict[str, Any]


STEP = 0.125
"""Of the codes' grid, where they are real numbers: a power of two, so that products stay exact."""


def scene(gate: GatedConv, seed: int, groups: int = 1, kernel: int = 3) -> Scene:
    rng = np.random.default_rng(seed)
    return {
        "codes": rng.integers(gate.lowest, gate.highest + 1, (2, 4, 7, 5)),
        "weights": rng.integers(-64, 65, (6, 4 // groups, kernel, kernel)),
        "thresholds": rng.normal(0, 5000, 6).round() + 0.5,
        "signs": rng.choice([-1, 1], 6),
        "groups": groups,
        "padding": int(rng.integers(0, 2)),
        "stride": int(rng.integers(1, 3)),
    }


def in_torch(gate: GatedConv, scene: Scene) -> tuple[torch.Tensor, torch.Tensor]:
    tensors = {
        key: torch.from_numpy(value).double() if isinstance(value, np.ndarray) else value
        for key, value in scene.items()
    }
    codes = tensors.pop("codes")
    return pytorch.gated_conv(gate, codes * STEP, STEP, **tensors | {"thresholds": tensors["thresholds"] * STEP})


def dense(codes: NDArray[Any], scene: Scene) -> NDArray[Any]:
    tensors = torch.from_numpy(codes).double(), torch.from_numpy(scene["weights"]).double()
    shape = {key: scene[key] for key in ("stride", "padding", "groups")}
    return functional.conv2d(*tensors, **shape).long().numpy()


class TestByHand:
    """A value of 2.0 is the code 255: 0, .30, .55, .90, 1.27 and 2.0 of 8 bits, the lower 4 gated."""

    CODES = np.array([0, 38, 70, 115, 162, 255])
    WEIGHTS = np.array([3, -2, 1, 2, -1, 1])

    def test_the_parts(self) -> None:
        high, low = split(UNSIGNED, self.CODES)
        assert high.tolist() == [0, 32, 64, 112, 160, 240]
        assert low.tolist() == [0, 6, 6, 3, 2, 15]

    def test_signed_parts_fit_their_bits(self) -> None:
        high, low = split(GatedConv(), np.array([-128, -121, -120, -8, -9, 7, 8, 111, 120, 127]))
        assert high.tolist() == [-128, -128, -128, 0, -16, 0, 0, 112, 112, 112]
        assert low.tolist() == [0, 7, 8, -8, 7, 7, 8, -1, 8, 15]

    @pytest.mark.parametrize(
        ("threshold", "sign", "expected"), [(303, 1, 317), (304, 1, 304), (304, -1, 304), (305, -1, 317)]
    )
    def test_the_comparison_is_strict(self, threshold: int, sign: int, expected: int) -> None:
        codes, weights = self.CODES.reshape(1, 6, 1, 1), self.WEIGHTS.reshape(1, 6, 1, 1)
        result, _ = gated_conv(UNSIGNED, codes, weights, np.array([threshold]), np.array([sign]))
        assert result.item() == expected


@pytest.mark.parametrize("gate", GATES)
def test_every_code_is_the_sum_of_parts_that_fit(gate: GatedConv) -> None:
    codes = np.arange(gate.lowest, gate.highest + 1)
    high, low = split(gate, codes)
    assert (high + low == codes).all() and (high % gate.step == 0).all()
    assert high.min() >= gate.lowest and high.max() <= gate.highest
    assert low.min() >= -gate.step // 2 and low.max() < gate.step


@pytest.mark.parametrize("gate", GATES)
@given(seed=st.integers(0, 10_000), groups=st.sampled_from([1, 2]), kernel=st.sampled_from([1, 3]))
def test_the_reference_is_what_loops_over_the_definition_give(
    gate: GatedConv, seed: int, groups: int, kernel: int
) -> None:
    one = scene(gate, seed, groups, kernel)
    result, is_open = gated_conv(gate, **one)
    high, low = split(gate, one["codes"])
    predicted, update = dense(high, one), dense(low, one)
    wanted = {
        index
        for index in np.ndindex(predicted.shape)
        if one["signs"][index[1]] * (predicted[index] - one["thresholds"][index[1]]) > 0
    }

    def decided_by(image: int, channel: int, y: int, x: int) -> bool:
        if gate.granularity == "element":
            return (image, channel, y, x) in wanted
        side = 1 if gate.granularity == "pixel" else gate.tile
        return any(i == image and v // side == y // side and u // side == x // side for i, _, v, u in wanted)

    for index in np.ndindex(predicted.shape):
        assert is_open[index] == decided_by(*index)
        assert result[index] == predicted[index] + update[index] * is_open[index]


@pytest.mark.parametrize("gate", GATES)
@given(seed=st.integers(0, 10_000))
def test_thresholds_without_end_leave_a_uniform_convolution(gate: GatedConv, seed: int) -> None:
    one = {**scene(gate, seed), "signs": np.ones(6)}
    everything, opened = gated_conv(gate, **{**one, "thresholds": np.full(6, -np.inf)})
    nothing, closed = gated_conv(gate, **{**one, "thresholds": np.full(6, np.inf)})
    assert opened.all() and not closed.any()
    assert (everything == dense(one["codes"], one)).all()
    assert (nothing == dense(split(gate, one["codes"])[0], one)).all()


@pytest.mark.parametrize("gate", GATES)
@given(seed=st.integers(0, 10_000))
def test_a_folded_normalisation_leaves_the_gate_as_it_was(gate: GatedConv, seed: int) -> None:
    """Factors are powers of two, either sign, so that folded sums stay exact."""
    one = {**scene(gate, seed), "signs": np.ones(6)}
    factors = np.array([1, -1, 2, -4, 8, -2])
    thresholds, signs = folded(one["thresholds"], factors)
    weights = one["weights"] * factors[:, None, None, None]
    before, opened = gated_conv(gate, **one)
    after, opened_after = gated_conv(gate, **{**one, "weights": weights, "thresholds": thresholds, "signs": signs})
    assert (opened_after == opened).all()
    assert (after == before * factors[:, None, None]).all()


@pytest.mark.parametrize("gate", GATES)
@given(seed=st.integers(0, 10_000), groups=st.sampled_from([1, 2]))
def test_pytorch_gives_what_the_reference_gives(gate: GatedConv, seed: int, groups: int) -> None:
    one = scene(gate, seed, groups)
    expected, opened = gated_conv(gate, **one)
    result, is_open = in_torch(gate, one)
    assert (result.numpy() == expected * STEP).all()
    assert (is_open.bool().expand(expected.shape).numpy() == opened).all()


def bias_of(scene: Scene) -> NDArray[Any]:
    """`[O]`, in the units of codes times weights."""
    return 37 * np.arange(len(scene["weights"])) - 100


def biased(gate: GatedConv, scene: Scene, scale: float) -> NDArray[np.float32]:
    """The reference's result for codes times the scale, with the bias, which is added to float32."""
    result, bias = gated_conv(gate, **scene)[0] * scale, bias_of(scene) * scale
    return result.astype(np.float32) + bias.astype(np.float32)[:, None, None]


def model(gate: GatedConv, scene: Scene, scale: float, **changes: Any) -> onnx.ModelProto:
    """The operator and its body, of codes times the scale; weights are codes times their channel's scale."""
    padding, stride = scene["padding"], scene["stride"]
    weight_scale = np.broadcast_to(scene.get("weight_scale", 1), len(scene["weights"])).astype(np.float32)
    constants = {
        "x_scale": np.float32(scale),
        "high_scale": np.float32(scale * gate.step),
        "weights": scene["weights"].astype(np.int8),
        "weight_scale": weight_scale,
        "threshold": (scene["thresholds"] * scale * weight_scale).astype(np.float32).reshape(-1, 1, 1),
        "sign": scene["signs"].astype(np.float32).reshape(-1, 1, 1),
        "bias": (bias_of(scene) * scale * weight_scale).astype(np.float32),
    }
    attributes = {"strides": [stride] * 2, "pads": [padding] * 4, "group": scene["groups"], **gate_attributes(gate)}
    constants.update((name, value) for name, value in changes.items() if name in constants)
    attributes.update((name, value) for name, value in changes.items() if name in attributes)
    node = helper.make_node(OP_TYPE, ["x", *constants], ["y"], domain=DOMAIN, **attributes)
    graph = helper.make_graph(
        [node],
        "gated",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, scene["codes"].shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
    made = helper.make_model(graph, opset_imports=opsets, functions=[function_body(gate, 17)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made


def between_quantizers(made: onnx.ModelProto, x_zero_point: int, y_scale: float, y_zero_point: int) -> onnx.ModelProto:
    """The model with the operator of bytes in place of that of float32."""
    (node,) = made.graph.node
    node.op_type = QUANTIZED_OP_TYPE
    grids = {
        "x_zero_point": np.uint8(x_zero_point),
        "y_scale": np.float32(y_scale),
        "y_zero_point": np.uint8(y_zero_point),
    }
    node.input.extend(grids)
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in grids.items())
    for value in (*made.graph.input, *made.graph.output):
        value.type.tensor_type.elem_type = TensorProto.UINT8
    made.functions.append(quantized_body(17))
    onnx.checker.check_model(made, full_check=True)
    return made


def started(made: onnx.ModelProto, operators: bool, threads: int = 1) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    if operators:
        options.register_custom_ops_library(str(OPERATORS))
    return onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])


def in_onnxruntime(
    gate: GatedConv, scene: Scene, scale: float, *, operators: bool = False, threads: int = 1
) -> NDArray[np.float32]:
    """By the body alone, or by the CPU kernel. The scales are powers of two: all products are exact."""
    session = started(model(gate, scene, scale), operators, threads)
    result: NDArray[np.float32] = session.run(None, {"x": (scene["codes"] * scale).astype(np.float32)})[0]
    return result


@pytest.mark.parametrize("gate", [*GATES, WIDE])
@given(seed=st.integers(0, 10_000), groups=st.sampled_from([1, 2]), scale=st.sampled_from([0.125, 1.0, 4.0]))
@settings(max_examples=15)
def test_the_onnx_body_gives_what_the_reference_gives(gate: GatedConv, seed: int, groups: int, scale: float) -> None:
    one = scene(gate, seed, groups)
    assert (in_onnxruntime(gate, one, scale) == biased(gate, one, scale)).all()


needs_library = pytest.mark.skipif(not OPERATORS.exists(), reason="not built: make operators")


def drawn_gates(of_bytes: bool) -> st.SearchStrategy[GatedConv]:
    """Of 6 to 16 bits, signed and not."""
    ends = [(-128, 127, 4), (0, 255, 4), (-100, 90, 3), (0, 63, 2), (0, 255, 1)]
    codes = st.sampled_from(ends if of_bytes else [*ends, (-32768, 32639, 8)])
    granularity = st.sampled_from(["element", "pixel", "tile"])
    return st.builds(
        lambda of, granularity, tile: GatedConv(of[2], of[0], of[1], granularity, tile),
        codes,
        granularity,
        st.integers(1, 6),
    )


@st.composite
def drawn_scenes(draw: st.DrawFn, of_bytes: bool = False) -> tuple[GatedConv, Scene]:
    """Any shape, with a share of thresholds that open everywhere or nowhere, and the largest weights."""
    gate = draw(drawn_gates(of_bytes))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    groups, side, padding = (
        draw(st.sampled_from([1, 1, 2, 3])),
        draw(st.sampled_from([1, 1, 2, 3])),
        draw(st.integers(0, 2)),
    )
    inputs, outputs = draw(st.integers(1, 21)), groups * draw(st.integers(1, 11))
    shape = [draw(st.integers(max(side - 2 * padding, 1), 24)) for _ in range(2)]
    largest = draw(st.sampled_from([1, 64, 127]))
    weights = rng.integers(-largest, largest + 1, (outputs, inputs, side, side))
    spread = float(gate.highest - gate.lowest) * largest * np.sqrt(inputs) * side / 6
    thresholds = rng.normal(draw(st.sampled_from([-2.0, 0.0, 1.0, 3.0])) * spread, spread, outputs).round() + 0.5
    endless = draw(st.sampled_from([None, None, np.inf, -np.inf]))
    return gate, {
        "codes": rng.integers(gate.lowest, gate.highest + 1, (draw(st.integers(1, 2)), inputs * groups, *shape)),
        "weights": weights,
        "thresholds": thresholds if endless is None else np.full(outputs, endless),
        "signs": rng.choice([-1, 1], outputs),
        "groups": groups,
        "padding": padding,
        "stride": draw(st.integers(1, 3)),
    }


class TestOperator:
    """The CPU kernel in ONNX Runtime."""

    @needs_library
    @given(drawn_scenes(), st.sampled_from([0.125, 1.0]), st.integers(1, 2))
    @settings(max_examples=150)
    def test_any_shape_gives_what_the_reference_gives(
        self, drawn: tuple[GatedConv, Scene], scale: float, threads: int
    ) -> None:
        """Each part is rounded to float32 once, and their sum, and that with the bias."""
        gate, one = drawn
        expected = (gated_conv(gate, **one)[0] + bias_of(one)[:, None, None]) * scale
        found = in_onnxruntime(gate, one, scale, operators=True, threads=threads)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=3e-7, atol=0 if gate.low_bits < 8 else 4 * scale)
        small = np.abs(expected) < 2**23 * scale
        if gate.low_bits < 8:
            assert (found[small] == expected[small]).all()

    @needs_library
    @pytest.mark.parametrize("gate", [*GATES, WIDE])
    def test_the_body_gives_the_same(self, gate: GatedConv) -> None:
        """Of scales that are no powers of two, as training leaves them."""
        one = {**scene(gate, 0), "weight_scale": np.linspace(0.003, 0.01, 6)}
        body, kernel = (in_onnxruntime(gate, one, 0.0173, operators=operators) for operators in (False, True))
        np.testing.assert_allclose(kernel, body, rtol=1e-5, atol=1e-6 * np.abs(body).max())

    @needs_library
    @given(drawn_scenes(of_bytes=True), st.integers(0, 255))
    @settings(max_examples=100)
    def test_between_quantizers_it_gives_what_they_make_of_the_reference(
        self, drawn: tuple[GatedConv, Scene], y_zero_point: int
    ) -> None:
        """Of scales of 1 and a power of two for the result, so that nothing is rounded but once."""
        gate, one = drawn
        x_zero_point = 128 if gate.lowest < 0 else 0
        result = gated_conv(gate, **one)[0] + bias_of(one)[:, None, None]
        y_scale = 2.0 ** np.ceil(np.log2(np.abs(result).max() / 100 + 1))
        made = between_quantizers(model(gate, one, 1.0), x_zero_point, y_scale, y_zero_point)
        expected = np.rint(result / y_scale) + y_zero_point
        (found,) = started(made, operators=True).run(None, {"x": (one["codes"] + x_zero_point).astype(np.uint8)})
        np.testing.assert_array_equal(found, np.clip(expected, 0, 255))

    @needs_library
    @pytest.mark.parametrize("gate", GATES)
    def test_between_quantizers_the_body_gives_the_same(self, gate: GatedConv) -> None:
        """But for a step where the body's sums of floats fall on the other side of a half."""
        one = {**scene(gate, 0), "weight_scale": np.linspace(0.003, 0.01, 6)}
        x_zero_point = 128 if gate.lowest < 0 else 0
        made = between_quantizers(model(gate, one, 0.0173), x_zero_point, 0.11, 121)
        x = (one["codes"] + x_zero_point).astype(np.uint8)
        body, kernel = (started(made, operators).run(None, {"x": x})[0].astype(int) for operators in (False, True))
        assert np.ptp(body) > 10
        assert np.abs(body - kernel).max() <= 1 and (body != kernel).mean() < 0.01

    @needs_library
    def test_one_session_in_several_threads(self) -> None:
        gate = GATES[2]
        session = started(model(gate, scene(gate, 0), 1.0), operators=True)
        inputs = [scene(gate, seed)["codes"].astype(np.float32) for seed in range(40)]
        expected = [session.run(None, {"x": x})[0] for x in inputs]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda x: session.run(None, {"x": x})[0], inputs))
        np.testing.assert_array_equal(found, expected)

    @needs_library
    def test_values_beyond_the_codes_take_the_last_one(self) -> None:
        gate = GATES[2]
        one = {**scene(gate, 0, kernel=1), "padding": 0}
        session = started(model(gate, one, 1.0), operators=True)
        x = np.full(one["codes"].shape, np.inf, np.float32)
        x[0] = -np.inf
        x[1, 0, 0] = np.nan
        ends = np.clip(np.nan_to_num(x, nan=gate.lowest), gate.lowest, gate.highest)
        expected = biased(gate, {**one, "codes": ends}, 1.0)
        assert (session.run(None, {"x": x})[0] == expected).all()

    @needs_library
    @pytest.mark.parametrize(
        ("change", "wanted"),
        [
            ({"step": 12}, "step: a power of 2"),
            ({"highest": 2048}, "highest: less than 128 times the step"),
            ({"lowest": 1}, "lowest and highest: 0"),
            ({"tile": 0}, "tile: from 1"),
            ({"granularity": "row"}, "granularity: element, pixel or tile, not 'row'"),
            ({"strides": [1]}, "two strides"),
            ({"pads": [0, -1, 0, 0]}, "pads: four, from 0"),
            ({"group": 4}, "as many output channels"),
            ({"x_scale": np.float32(0)}, "x_scale above 0"),
            ({"high_scale": np.float32(3)}, "high_scale of step times x_scale"),
            ({"weight_scale": np.ones(5, np.float32)}, "weight_scale of 6 values"),
            ({"bias": np.ones(1, np.float32)}, "bias of 6 values"),
            ({"weights": np.ones((6, 4, 1), np.int8)}, r"weights \[O, C / group, kh, kw\]"),
        ],
    )
    def test_what_it_cannot_compute_is_refused(self, change: dict[str, Any], wanted: str) -> None:
        made = model(GATES[2], scene(GATES[2], 0), 1.0)
        node = made.graph.node[0]
        for attribute in node.attribute:
            if attribute.name in change:
                attribute.CopyFrom(helper.make_attribute(attribute.name, change[attribute.name]))
        for initializer in made.graph.initializer:
            if initializer.name in change:
                initializer.CopyFrom(numpy_helper.from_array(np.asarray(change[initializer.name]), initializer.name))
        del made.functions[:]  # ONNX would notice some of it itself
        with pytest.raises(Exception, match=f"EdgeDetGatedConv takes {wanted}"):
            started(made, operators=True)

    @needs_library
    def test_images_that_do_not_fit_are_refused(self) -> None:
        made = model(GATES[2], {**scene(GATES[2], 0), "padding": 0}, 1.0)
        del made.graph.input[0].type.tensor_type.shape.dim[:]
        session = started(made, operators=True)
        with pytest.raises(Exception, match=r"EdgeDetGatedConv takes x \[B, 4, H, W\]"):
            session.run(None, {"x": np.zeros((1, 3, 8, 8), np.float32)})
        with pytest.raises(Exception, match="EdgeDetGatedConv takes images that the weights fit into"):
            session.run(None, {"x": np.zeros((1, 4, 2, 8), np.float32)})


def test_parts_of_more_than_8_bits_are_refused() -> None:
    with pytest.raises(EdgedetError, match="leave parts of more than 8 bits"):
        gate_attributes(GatedConv(low_bits=8, lowest=-32768, highest=32767 + 1))


class TestGradients:
    def parts(self, sparse: bool, thresholds: float = 0.0) -> dict[str, torch.Tensor]:
        """One image of two pixels, a channel in and one out: predictions 32 and -16, low parts 3 and 5."""
        codes = torch.tensor([35.0, -11.0], dtype=torch.float64).reshape(1, 1, 1, 2).requires_grad_()
        weights = torch.ones(1, 1, 1, 1, dtype=torch.float64, requires_grad=True)
        threshold = torch.full((1,), thresholds, dtype=torch.float64, requires_grad=True)
        result, is_open = pytorch.gated_conv(
            GatedConv(), codes, 1.0, weights, threshold, torch.ones(1, dtype=torch.float64), sparse=sparse
        )
        gradients = torch.autograd.grad(result.sum(), (codes, weights, threshold))
        names = ("codes", "weights", "threshold")
        return {"result": result.detach(), "open": is_open, **dict(zip(names, gradients, strict=True))}

    def slope(self, wish: float) -> float:
        sigmoid = torch.tensor(pytorch.ALPHA * wish, dtype=torch.float64).sigmoid().item()
        return pytorch.ALPHA * sigmoid * (1 - sigmoid)

    def test_the_low_part_passes_none_to_the_codes(self) -> None:
        codes = torch.arange(-128.0, 128.0).requires_grad_()
        high, low = pytorch.split(GatedConv(), codes, 1.0)
        assert not low.requires_grad
        (gradient,) = torch.autograd.grad(high.sum(), codes)
        assert (gradient == 1).all()

    def test_by_hand_near_the_threshold(self) -> None:
        """The first gate is open with a wish of .125, and an update of 3; the second is closed."""
        found = self.parts(sparse=True, thresholds=31.875)
        assert found["result"].flatten().tolist() == [35.0, -16.0]
        through_gate = 3 * self.slope(0.125)
        assert found["threshold"].item() == pytest.approx(-through_gate)
        assert found["codes"].flatten().tolist() == pytest.approx([1 + through_gate, 1.0])
        assert found["weights"].item() == pytest.approx(32 - 16 + 3 + through_gate * 32)

    def test_closed_gates_learn_only_where_they_are_not_sparse(self) -> None:
        """Both gates closed, the first with a wish of -.125."""
        assert self.parts(sparse=True, thresholds=32.125)["threshold"].item() == 0
        assert self.parts(sparse=False, thresholds=32.125)["threshold"].item() == pytest.approx(-3 * self.slope(-0.125))


def test_average_bits() -> None:
    """The paper's table: 6 and 4 bits with 57.2 % not updated are 4.8 on average; 3 and 2 with 90.1 % are 2.1."""
    assert average_bits(GatedConv(low_bits=2, lowest=0, highest=63), 1 - 0.572) == pytest.approx(4.856)
    assert average_bits(GatedConv(low_bits=1, lowest=0, highest=7), 1 - 0.901) == pytest.approx(2.099)
    assert average_bits(GatedConv(), 0.25) == 5.0


@pytest.mark.parametrize(
    "wrong", [{"low_bits": 0}, {"low_bits": 8}, {"lowest": 1}, {"highest": 0}, {"tile": 0, "granularity": "tile"}]
)
def test_what_cannot_be_split_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(EdgedetError):
        GatedConv(**wrong)
