from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from edgedet.losses.focal import distribution_focal_loss, focal_loss, quality_focal_loss, varifocal_loss

BINS = 8
PEAKED = torch.tensor([0.0, 1.0, 2.0, 3.0, 2.0, 1.0, 0.0, 0.0])
FINITE_LOGITS = st.floats(-80, 80, width=32)


def logit(probability: float) -> Tensor:
    return torch.tensor(math.log(probability / (1 - probability)))


class TestFocalLoss:
    @pytest.mark.parametrize(
        ("score", "label", "loss"),
        [
            (0.9, 1.0, 0.000263),
            (0.968, 1.0, 8.33e-6),
            (0.1, 0.0, 0.000790),
            (0.1, 1.0, 0.466273),
            (0.9, 0.0, 1.398820),
            (0.5, 1.0, 0.043322),
            (0.5, 0.0, 0.129965),
        ],
    )
    def test_known_values(self, score: float, label: float, loss: float) -> None:
        assert focal_loss(logit(score), torch.tensor(label)).item() == pytest.approx(loss, rel=2e-4, abs=5e-7)

    @given(FINITE_LOGITS, st.booleans(), st.floats(0, 1), st.floats(1, 5))
    @settings(max_examples=50)
    def test_is_the_papers_equation(self, x: float, label: bool, alpha: float, gamma: float) -> None:
        found = focal_loss(torch.tensor(x), torch.tensor(float(label)), alpha, gamma).item()
        signed = x if label else -x
        # -ln(p_t) and 1 - p_t, without cancellation.
        cross_entropy = max(-signed, 0) + math.log1p(math.exp(-abs(signed)))
        distance = math.exp(-signed - cross_entropy)
        weight = alpha if label else 1 - alpha
        assert found == pytest.approx(weight * distance**gamma * cross_entropy, rel=1e-3, abs=1e-6)

    def test_without_gamma_it_is_the_weighted_cross_entropy_of_smoothed_labels_too(self) -> None:
        x, y = torch.linspace(-6, 6, 25), torch.tensor([0.0, 0.05, 0.5, 0.95, 1.0])[:, None].expand(5, 25)
        x = x.expand(5, 25)
        expected = functional.binary_cross_entropy_with_logits(x, y, reduction="none") / 2
        torch.testing.assert_close(focal_loss(x, y, alpha=0.5, gamma=0.0), expected)

    def test_a_nearly_hard_label_costs_nearly_what_the_hard_one_does(self) -> None:
        x = torch.linspace(-4, 4, 17)
        for hard, soft in ((0.0, 1e-4), (1.0, 1 - 1e-4)):
            found, expected = (focal_loss(x, torch.full_like(x, label)) for label in (soft, hard))
            torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)

    def test_gradients_are_those_of_finite_differences(self) -> None:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(20, generator=generator, dtype=torch.float64, requires_grad=True)
        y = torch.rand(20, generator=generator, dtype=torch.float64).round()
        assert torch.autograd.gradcheck(lambda x: focal_loss(x, y), (x,))
        assert torch.autograd.gradcheck(lambda x: focal_loss(x, y * 0.9 + 0.05), (x,))


class TestVarifocalLoss:
    @pytest.mark.parametrize(("score", "quality", "loss"), [(0.6, 0.8, 0.473535), (0.3, 0.0, 0.024076)])
    def test_known_values(self, score: float, quality: float, loss: float) -> None:
        assert varifocal_loss(logit(score), torch.tensor(quality)).item() == pytest.approx(loss, abs=1e-6)

    def test_a_positive_is_weighted_by_its_quality_however_right_its_score_is(self) -> None:
        x, q = torch.linspace(-5, 5, 11), torch.full((11,), 0.4)
        expected = 0.4 * functional.binary_cross_entropy_with_logits(x, q, reduction="none")
        torch.testing.assert_close(varifocal_loss(x, q), expected)
        torch.testing.assert_close(varifocal_loss(x, q, alpha=0.1, gamma=5.0), expected)

    def test_a_negative_is_a_focal_loss(self) -> None:
        x, zeros = torch.linspace(-5, 5, 11), torch.zeros(11)
        torch.testing.assert_close(varifocal_loss(x, zeros), focal_loss(x, zeros, alpha=0.25))
        torch.testing.assert_close(varifocal_loss(x, zeros, 0.5, 3.0), focal_loss(x, zeros, 0.5, 3.0))

    def test_gradients_are_those_of_finite_differences(self) -> None:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(20, generator=generator, dtype=torch.float64, requires_grad=True)
        q = (torch.rand(20, generator=generator, dtype=torch.float64) * 2 - 1).clamp(min=0)
        assert torch.autograd.gradcheck(lambda x: varifocal_loss(x, q), (x,))


class TestQualityFocalLoss:
    @pytest.mark.parametrize(
        ("score", "quality", "loss"), [(0.6, 0.8, 0.023677), (0.3, 0.0, 0.032101), (0.9, 0.5, 0.192636)]
    )
    def test_known_values(self, score: float, quality: float, loss: float) -> None:
        assert quality_focal_loss(logit(score), torch.tensor(quality)).item() == pytest.approx(loss, abs=1e-6)

    @given(FINITE_LOGITS, st.floats(0, 1, width=32))
    @settings(max_examples=50)
    def test_is_the_papers_equation(self, x: float, y: float) -> None:
        found = quality_focal_loss(torch.tensor(x), torch.tensor(y)).item()
        # -log sigmoid(x) and -log(1 - sigmoid(x)), without cancellation.
        as_one, as_zero = max(-x, 0) + math.log1p(math.exp(-abs(x))), max(x, 0) + math.log1p(math.exp(-abs(x)))
        score = math.exp(-as_one)
        assert found == pytest.approx(abs(y - score) ** 2 * (y * as_one + (1 - y) * as_zero), rel=1e-4, abs=1e-6)

    def test_is_zero_with_zero_gradient_where_the_score_is_the_quality(self) -> None:
        x = logit(0.7).requires_grad_()
        loss = quality_focal_loss(x, x.detach().sigmoid())
        loss.backward()
        assert loss.item() == 0
        assert x.grad is not None and x.grad.item() == 0

    def test_keeps_the_shape_and_pulls_each_score_towards_its_quality(self) -> None:
        x = torch.zeros(2, 3, requires_grad=True)
        quality = torch.tensor([[0.0, 0.2, 0.4], [0.6, 0.8, 1.0]])
        loss = quality_focal_loss(x, quality)
        loss.sum().backward()
        assert loss.shape == x.shape
        assert x.grad is not None
        assert torch.equal(x.grad.sign(), (0.5 - quality).sign())

    def test_gradients_are_those_of_finite_differences(self) -> None:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(20, generator=generator, dtype=torch.float64, requires_grad=True)
        y = torch.rand(20, generator=generator, dtype=torch.float64)
        assert torch.autograd.gradcheck(lambda x: quality_focal_loss(x, y), (x,))

    def test_extreme_logits_give_finite_losses_and_gradients(self) -> None:
        x = torch.tensor([-1e4, -100.0, 0.0, 100.0, 1e4] * 3, requires_grad=True)
        y = torch.tensor([0.0, 0.5, 1.0]).repeat_interleave(5)
        loss = quality_focal_loss(x, y)
        loss.sum().backward()
        assert loss.isfinite().all()
        assert x.grad is not None and x.grad.isfinite().all()


class TestDistributionFocalLoss:
    def test_known_value(self) -> None:
        assert distribution_focal_loss(PEAKED, torch.tensor(3.3)).item() == pytest.approx(1.068158, abs=1e-6)

    @given(st.lists(FINITE_LOGITS, min_size=BINS, max_size=BINS), st.floats(0, BINS - 1.02))
    @settings(max_examples=50)
    def test_is_the_papers_equation(self, logits: list[float], target: float) -> None:
        found = distribution_focal_loss(torch.tensor(logits), torch.tensor(target)).item()
        exact = torch.tensor(logits, dtype=torch.float64)
        lower = math.floor(target)
        log_p = [float(x - exact.logsumexp(0)) for x in exact]
        expected = -((lower + 1 - target) * log_p[lower] + (target - lower) * log_p[lower + 1])
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)

    @pytest.mark.parametrize("target", range(BINS - 1))
    def test_on_a_bin_it_is_the_cross_entropy(self, target: int) -> None:
        expected = functional.cross_entropy(PEAKED, torch.tensor(target))
        torch.testing.assert_close(distribution_focal_loss(PEAKED, torch.tensor(float(target))), expected)

    def test_has_its_least_value_at_the_two_bins_around_the_target(self) -> None:
        wanted = torch.tensor([0, 0, 0, 0.7, 0.3, 0, 0, 0])
        logits = (wanted + 1e-12).log().requires_grad_()
        loss = distribution_focal_loss(logits, torch.tensor(3.3))
        loss.backward()
        assert logits.grad is not None
        assert logits.grad.abs().max() < 1e-6
        assert loss.item() == pytest.approx(-(0.7 * math.log(0.7) + 0.3 * math.log(0.3)), abs=1e-5)

    @pytest.mark.parametrize("target", [-1e9, -5.0, -0.001])
    def test_a_target_below_the_first_bin_counts_as_the_first(self, target: float) -> None:
        expected = distribution_focal_loss(PEAKED, torch.tensor(0.0))
        assert torch.equal(distribution_focal_loss(PEAKED, torch.tensor(target)), expected)

    @pytest.mark.parametrize("target", [6.999, 7.0, 7.001, 50.0, 1e9])
    def test_a_target_beyond_the_last_bin_counts_as_nearly_the_last(self, target: float) -> None:
        found = distribution_focal_loss(PEAKED, torch.tensor(target)).item()
        last = -PEAKED.log_softmax(0)[-1].item()
        assert found == pytest.approx(last, abs=0.05)
        assert found == distribution_focal_loss(PEAKED, torch.tensor(1e6)).item()

    def test_shapes_and_gradients_of_many(self) -> None:
        generator = torch.Generator().manual_seed(0)
        logits = torch.randn(3, 4, BINS, generator=generator, dtype=torch.float64, requires_grad=True)
        targets = torch.rand(3, 4, generator=generator, dtype=torch.float64) * 9 - 1
        assert distribution_focal_loss(logits, targets).shape == (3, 4)
        assert torch.autograd.gradcheck(lambda x: distribution_focal_loss(x, targets), (logits,))

    def test_extreme_logits_give_finite_losses_and_gradients(self) -> None:
        logits = torch.zeros(BINS)
        logits[0] = 1e4
        logits.requires_grad_()
        loss = distribution_focal_loss(logits, torch.tensor(3.5))
        loss.backward()
        assert loss.isfinite()
        assert logits.grad is not None and logits.grad.isfinite().all()

    def test_nothing_in_nothing_out(self) -> None:
        assert distribution_focal_loss(torch.zeros(0, 4, BINS), torch.zeros(0, 4)).shape == (0, 4)
