"""INT8 grids: the numbers of ONNX's quantizers, and the gradients of learned step sizes."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from torch import nn

from edgedet.models.quantized.codes import HIGHEST_OF_SUMMED, HIGHEST_UNSIGNED
from edgedet.models.quantized.fake_quantize import PER_TENSOR, FakeQuantize, QuantizedConv2d, fake_quantize

SCALE = 0.25


def by_onnx(x: np.ndarray, scale: np.ndarray, axis: int) -> np.ndarray:
    """QuantizeLinear and DequantizeLinear of the ONNX package's reference."""
    attributes = {} if axis == PER_TENSOR else {"axis": axis}
    zero_point = helper.make_tensor("zero", TensorProto.INT8, scale.shape, [0] * max(scale.size, 1))
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["codes"], **attributes),
            helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["y"], **attributes),
        ],
        "grid",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "scale")],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [zero_point],
    )
    model = onnx.helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)])
    return np.asarray(ReferenceEvaluator(model).run(None, {"x": x, "scale": scale})[0])


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    spread=st.sampled_from([0.01, 1.0, 50.0]),
    axis_and_highest=st.sampled_from([(PER_TENSOR, 127), (0, 127), (1, 127), (0, 64)]),
)
def test_the_grid_is_that_of_onnx(seed: int, spread: float, axis_and_highest: tuple[int, int]) -> None:
    axis, highest = axis_and_highest
    rng = np.random.default_rng(seed)
    x = rng.normal(0, spread, (5, 3, 2)).astype(np.float32)
    scale = rng.uniform(0.01, 1, [] if axis == PER_TENSOR else x.shape[axis]).astype(np.float32)
    found = fake_quantize(torch.from_numpy(x), torch.from_numpy(np.asarray(scale)), axis, highest)
    if axis != PER_TENSOR:  # a channel's grid ends earlier, below at least
        end = highest * np.expand_dims(scale, [other for other in range(3) if other != axis])
        x = np.clip(x, -end, end)
    np.testing.assert_array_equal(found.numpy(), by_onnx(x, np.asarray(scale), axis))


def test_ties_go_to_the_even_step_and_what_is_beyond_is_clipped() -> None:
    x = torch.tensor([0.5, 1.5, 2.5, -0.5, 1000.0, -1000.0]) * SCALE
    found = fake_quantize(x, torch.tensor(SCALE), PER_TENSOR, 127) / SCALE
    assert found.tolist() == [0, 2, 2, 0, 127, -128]


def test_gradients_are_those_of_learned_step_sizes() -> None:
    steps = [2.65, -5.5, 1.2, 200.0, -300.0]
    x = (torch.tensor(steps) * SCALE).requires_grad_()
    scale = torch.tensor(SCALE, requires_grad=True)
    fake_quantize(x, scale, PER_TENSOR, 127).backward(torch.tensor([1.0, 1.0, 2.0, 1.0, 1.0]))
    assert x.grad is not None and scale.grad is not None
    assert x.grad.tolist() == [1, 1, 2, 0, 0]
    by_hand = (3 - 2.65) + (-6 + 5.5) + 2 * (1 - 1.2) + 127 - 128
    assert scale.grad.item() == pytest.approx(by_hand / math.sqrt(5 * 127), rel=1e-4)


@pytest.mark.parametrize("highest", [127, 64])
def test_gradients_of_a_channels_grid_are_those_of_learned_step_sizes(highest: int) -> None:
    steps = [2.65, -5.5, 1.2, 200.0, -300.0]
    x = (torch.tensor([steps, steps]) * SCALE).requires_grad_()
    scale = torch.tensor([SCALE, SCALE], requires_grad=True)
    fake_quantize(x, scale, 0, highest).backward(torch.tensor([[1.0, 1.0, 2.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0, 2.0]]))
    assert x.grad is not None and scale.grad is not None
    assert x.grad.tolist() == [[1, 1, 2, 0, 0], [0, 0, 0, 0, 0]]
    by_hand = [(3 - 2.65) + (-6 + 5.5) + 2 * (1 - 1.2) + highest - highest, -2 * highest]
    assert scale.grad.tolist() == pytest.approx([value / math.sqrt(5 * highest) for value in by_hand], rel=1e-4)


def test_a_channels_gradient_is_scaled_by_its_own_number_of_values() -> None:
    x = torch.tensor([[0.3, 0.7, 1.1], [5.0, -3.2, 0.4]])
    together = torch.tensor([SCALE, SCALE], requires_grad=True)
    fake_quantize(x, together, 0, 127).sum().backward()
    for row in range(2):
        alone = torch.tensor(SCALE, requires_grad=True)
        fake_quantize(x[row], alone, PER_TENSOR, 127).sum().backward()
        assert together.grad is not None and alone.grad is not None
        assert together.grad[row].item() == pytest.approx(alone.grad.item(), rel=1e-5)


def test_a_grid_ends_at_its_range_and_is_never_empty() -> None:
    quantizer = FakeQuantize()
    quantizer.set_range(torch.tensor(6.35))
    assert quantizer(torch.tensor([6.35, 100.0, 0.03])).tolist() == pytest.approx([6.35, 6.35, 0.05])
    quantizer.set_range(torch.tensor(0.0))
    assert quantizer.scale > 0 and quantizer(torch.zeros(3)).tolist() == [0, 0, 0]


@pytest.mark.parametrize(("groups", "highest"), [(1, 64), (2, 64), (4, 127)])
def test_weights_lose_half_a_step_of_their_channel_at_most(groups: int, highest: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=groups)
    with torch.no_grad():
        conv.weight.mul_(torch.logspace(-3, 1, 8)[:, None, None, None])
    quantized = QuantizedConv2d(conv)
    rounded = quantized.weight_quantizer(quantized.weight)
    step = conv.weight.abs().amax(dim=(1, 2, 3), keepdim=True) / highest
    assert ((rounded - conv.weight).abs() <= step / 2 * (1 + 1e-5)).all()
    x = torch.rand(1, 4, 8, 8)
    expected = nn.functional.conv2d(x, rounded, conv.bias, stride=2, padding=1, groups=groups)
    torch.testing.assert_close(quantized(x), expected)


def test_two_products_of_a_sum_fit_into_16_bits() -> None:
    largest = 2 * HIGHEST_OF_SUMMED * HIGHEST_UNSIGNED
    assert largest <= np.iinfo(np.int16).max < largest + 2 * HIGHEST_UNSIGNED
