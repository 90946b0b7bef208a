"""How grids move in training."""

from __future__ import annotations

import math

import pytest
import torch
from small_float import float_detector
from torch import nn

from edgedet.graph.source import find_model
from edgedet.models.detector import Detector
from edgedet.models.quantized.detector import QuantizedDetector
from edgedet.models.quantized.fake_quantize import FakeQuantize, QuantizedConv2d
from edgedet.models.quantized.recipe import Recipe
from edgedet.quant.calibrate import fit_to_noise
from edgedet.quant.grids import (
    KEPT_OF_RANGE,
    METHODS,
    FollowingRange,
    FollowingWeights,
    LearnedClipping,
    LearnedSteps,
    hold_grids,
    make_grids_move,
    moving,
)

LR = 0.01


def detector_in_training(method: str) -> QuantizedDetector:
    detector, spec = float_detector()
    quantized = fit_to_noise(detector, spec.preprocess)
    make_grids_move(quantized, method)
    return quantized.train()


def grids(quantized: QuantizedDetector) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in quantized.state_dict().items() if name.endswith("scale")}


def step(quantized: QuantizedDetector, *, hold: bool = False, lr: float = LR) -> None:
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW([p for p in quantized.parameters() if p.requires_grad], lr=lr, weight_decay=0)
    quantized(torch.randn(2, 3, 64, 64)).square().mean().backward()
    with moving(quantized, hold=hold):
        optimizer.step()


@pytest.mark.parametrize("method", METHODS)
class TestEveryMethod:
    def test_the_parameters_are_those_of_any_quantized_detector(self, method: str) -> None:
        plain = QuantizedDetector(float_detector()[0], Recipe())
        moved = detector_in_training(method)
        assert moved.state_dict().keys() == plain.state_dict().keys()
        plain.load_state_dict(moved.state_dict())
        images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        assert torch.equal(plain.eval()(images), moved.eval()(images))

    def test_grids_move_in_training_and_stay_positive(self, method: str) -> None:
        quantized = detector_in_training(method)
        for quantizer in quantized.quantizers().values():
            quantizer.scale.data.mul_(0.5)  # so that values lie beyond every grid
        before = grids(quantized)
        step(quantized, lr=1.0)  # far beyond any sensible rate
        after = grids(quantized)
        activations = [name for name in before if ".weight_quantizer." not in name]
        moved = [name for name in activations if not torch.equal(before[name], after[name])]
        assert len(moved) > 0.7 * len(activations)
        assert all((scale > 0).all() and scale.isfinite().all() for scale in after.values())

    def test_an_evaluation_moves_nothing(self, method: str) -> None:
        quantized = detector_in_training(method).eval()
        before = grids(quantized)
        quantized(1000 * torch.randn(1, 3, 64, 64))
        with moving(quantized, hold=False):
            pass
        after = grids(quantized)
        assert all(torch.equal(before[name], after[name]) for name in before)

    def test_held_grids_stay_to_the_bit_while_the_weights_move(self, method: str) -> None:
        quantized = detector_in_training(method)
        step(quantized)
        hold_grids(quantized)
        before = {name: tensor.clone() for name, tensor in quantized.state_dict().items()}
        step(quantized, hold=True)
        changed = [name for name, tensor in quantized.state_dict().items() if not torch.equal(tensor, before[name])]
        assert not [name for name in changed if name.endswith("scale")]
        assert [name for name in changed if name.endswith(".weight")]


def test_a_step_of_the_optimizer_is_one_of_the_scales_logarithm() -> None:
    network = nn.ModuleDict({"small": LearnedSteps(), "large": LearnedSteps(), "many": LearnedSteps(3)})
    scales = {"small": [1e-6], "large": [1e3], "many": [1e-5, 1.0, 50.0]}
    for name, values in scales.items():
        network[name].scale.data = torch.tensor(values).view_as(network[name].scale)
    optimizer = torch.optim.Adam(network.parameters(), lr=LR)
    sum((m.scale * weight).sum() for m, weight in zip(network.values(), (1e6, -1e-3, 1.0), strict=True)).backward()
    with moving(network, hold=False):
        optimizer.step()
    for (name, values), sign in zip(scales.items(), (-1, 1, -1), strict=True):
        expected = [value * math.exp(sign * LR) for value in values]
        assert network[name].scale.flatten().tolist() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_no_grid_ends_beyond_what_its_activation_gives(method: str) -> None:
    """Behind ReLU6 the activation could not vanish into a quantizer that ends beyond 6."""
    detector, spec = find_model("mobilenetv2_0.35", classes=3, size=(64, 64))
    assert isinstance(detector, Detector)
    quantized = fit_to_noise(detector, spec.preprocess)
    make_grids_move(quantized, method)
    quantizers = quantized.train().quantizers()
    bounded = [name for name, quantizer in quantizers.items() if quantizer.bound < math.inf]
    assert {quantizers[name].bound for name in bounded} == {6.0}
    # All but the image, the linear bottlenecks and the sums.
    assert 0 < len(quantizers) - len(bounded) < len(bounded)
    with moving(quantized, hold=False), torch.no_grad():
        for quantizer in quantizers.values():
            quantizer.scale += 10.0
    for name, quantizer in quantizers.items():
        assert (float(quantizer.scale.detach()) * 127 <= 6.00001) == (name in bounded), name


def test_clipping_is_learned_from_what_lies_beyond_alone() -> None:
    quantizer = LearnedClipping()
    quantizer.set_range(torch.tensor(1.27))
    x = torch.tensor([0.3, -0.5, 2.0, 3.0, -4.0], requires_grad=True)
    y = quantizer(x)
    y.backward(torch.tensor([1.0, 1.0, 1.0, 2.0, 4.0]))
    assert x.grad is not None and quantizer.scale.grad is not None
    assert x.grad.tolist() == [1, 1, 0, 0, 0]
    assert quantizer.scale.grad.item() == pytest.approx(127 * (1 + 2) - 128 * 4, rel=1e-5)
    assert y.tolist() == pytest.approx([0.3, -0.5, 1.27, 1.27, -1.28], abs=1e-6)


def test_a_range_follows_the_largest_of_all_tensors_that_share_it() -> None:
    quantizer = FollowingRange().train()
    quantizer.set_range(torch.tensor(2.0))
    for values in ([0.5, -8.0], [4.0, 1.0]):
        quantizer(torch.tensor(values))
    assert quantizer.scale.item() == pytest.approx(2.0 / 127), "moved before the step's end"
    quantizer.settle()
    first = KEPT_OF_RANGE * 2.0 + (1 - KEPT_OF_RANGE) * 8.0
    assert quantizer.scale.item() == pytest.approx(first / 127, rel=1e-5)
    quantizer.settle()  # a step that rounded nothing
    assert quantizer.scale.item() == pytest.approx(first / 127, rel=1e-5)
    quantizer(torch.tensor([1.0]))
    quantizer.settle()
    assert quantizer.scale.item() == pytest.approx((KEPT_OF_RANGE * first + (1 - KEPT_OF_RANGE)) / 127, rel=1e-5)


def test_a_channels_grid_ends_at_its_largest_weight_of_the_moment() -> None:
    conv = QuantizedConv2d(nn.Conv2d(2, 3, 1))
    conv.weight_quantizer = FollowingWeights(3)
    largest = torch.tensor([1.0, 0.5, 20.0])
    with torch.no_grad():
        conv.weight.copy_(largest.view(3, 1, 1, 1) * torch.tensor([-1.0, 0.25]).view(1, 2, 1, 1))
    conv.train()(torch.randn(1, 2, 4, 4))
    assert torch.allclose(conv.weight_quantizer.scale * 127, largest)


@pytest.mark.parametrize("start", [0.5, 40.0])
def test_learned_steps_come_near_the_range_that_loses_least(start: float) -> None:
    """Near, not there: the straight-through gradient is not that of the rounding error."""
    torch.manual_seed(0)
    x = torch.randn(1 << 16)
    quantizer = LearnedSteps()
    quantizer.set_range(torch.tensor(start))
    optimizer = torch.optim.Adam(quantizer.parameters(), lr=0.02)
    for _ in range(400):
        optimizer.zero_grad()
        (quantizer(x) - x).square().mean().backward()
        with moving(quantizer, hold=False):
            optimizer.step()
    ends = torch.linspace(2.5, 6, 200)
    errors = []
    plain = FakeQuantize()
    for end in ends:
        plain.set_range(end)
        errors.append(float((plain(x) - x).square().mean()))
    found = float((quantizer(x) - x).detach().square().mean())
    assert found < 4 * min(errors)
    plain.set_range(torch.tensor(start))
    assert float((plain(x) - x).square().mean()) > 50 * min(errors)
