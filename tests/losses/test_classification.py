from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet.losses.classification import CLASSIFICATION_LOSSES, binary_cross_entropy, smooth_labels
from edgedet.losses.focal import focal_loss, quality_focal_loss, varifocal_loss


def test_every_loss_by_name() -> None:
    losses = [binary_cross_entropy, focal_loss, quality_focal_loss, varifocal_loss]
    assert list(CLASSIFICATION_LOSSES.items()) == list(zip(["bce", "focal", "qfl", "vfl"], losses, strict=True))


@pytest.mark.parametrize(("score", "target"), [(0.9, 1.0), (0.9, 0.0), (0.2, 0.3)])
def test_cross_entropy_is_its_definition(score: float, target: float) -> None:
    x = torch.tensor(math.log(score / (1 - score)))
    expected = -(target * math.log(score) + (1 - target) * math.log(1 - score))
    assert binary_cross_entropy(x, torch.tensor(target)).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", CLASSIFICATION_LOSSES)
@pytest.mark.parametrize("target", [0.0, 0.3, 1.0])
def test_extreme_logits_give_finite_losses_and_gradients(name: str, target: float) -> None:
    x = torch.tensor([-1e4, -100.0, -30.0, 0.0, 30.0, 100.0, 1e4], requires_grad=True)
    loss = CLASSIFICATION_LOSSES[name](x, torch.full_like(x, target))
    loss.sum().backward()
    assert loss.isfinite().all()
    assert (loss >= 0).all()
    assert x.grad is not None and x.grad.isfinite().all()


@pytest.mark.parametrize("name", CLASSIFICATION_LOSSES)
def test_each_element_is_alone(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 3, 4, generator=generator), torch.rand(2, 3, 4, generator=generator)
    losses = CLASSIFICATION_LOSSES[name](x, y)
    assert losses.shape == (2, 3, 4)
    torch.testing.assert_close(losses[1, 2, 3], CLASSIFICATION_LOSSES[name](x[1, 2, 3], y[1, 2, 3]))
    assert CLASSIFICATION_LOSSES[name](x[:0], y[:0]).shape == (0, 3, 4)


@pytest.mark.parametrize("name", CLASSIFICATION_LOSSES)
def test_a_wrong_score_costs_more_and_is_pulled_to_its_label(name: str) -> None:
    x = torch.tensor([-2.0, 2.0], requires_grad=True)
    for label, pull in ((1.0, -1.0), (0.0, 1.0)):
        loss = CLASSIFICATION_LOSSES[name](x, torch.full_like(x, label))
        (gradient,) = torch.autograd.grad(loss.sum(), x)
        assert (loss[0] > loss[1]) == bool(label)
        assert torch.equal(gradient.sign(), torch.full_like(x, pull))


class TestSmoothLabels:
    def test_known_values(self) -> None:
        torch.testing.assert_close(smooth_labels(torch.tensor([0.0, 1.0]), 0.2), torch.tensor([0.1, 0.9]))
        expected = torch.tensor([[0.925, 0.025, 0.025, 0.025], [0.025, 0.925, 0.025, 0.025]])
        torch.testing.assert_close(smooth_labels(torch.eye(4)[:2], 0.1), expected)

    @given(st.integers(1, 30), st.integers(0, 29), st.floats(0, 1, width=32))
    @settings(max_examples=30)
    def test_the_sum_stays_one_and_the_label_stays_first(self, classes: int, label: int, smoothing: float) -> None:
        onehot = torch.zeros(classes)
        onehot[label % classes] = 1
        smoothed = smooth_labels(onehot, smoothing)
        assert smoothed.sum().item() == pytest.approx(1, abs=1e-5)
        assert smoothed.max() == smoothed[label % classes]
        assert (smoothed >= 0).all()

    def test_nothing_is_smoothed_with_none(self) -> None:
        onehot = torch.eye(5)
        assert torch.equal(smooth_labels(onehot, 0.0), onehot)
