from __future__ import annotations

import pytest
import torch
from torch import nn

from edgedet.train.ema import ExponentialMovingAverage


def model(value: float = 0.0) -> nn.Sequential:
    network = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))
    fill(network, value)
    return network


def fill(network: nn.Module, value: float) -> None:
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.fill_(value)


def values(network: nn.Module) -> list[float]:
    """The one value of every tensor but the counter of batches."""
    tensors = [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
    assert all((tensor == tensor.flatten()[0]).all() for tensor in tensors)
    return [tensor.flatten()[0].item() for tensor in tensors]


class TestDecay:
    @pytest.mark.parametrize(
        ("total", "step", "decay"),
        [
            (100_000, 0, 1 / 10),
            (100_000, 1, 2 / 11),
            (100_000, 90, 91 / 100),
            (100_000, 100_000, 0.999),
            (1_000, 10**6, 0.9),
            (10_000, 500, 501 / 510),
            (1, 0, 0.0),
            (100, 50, 0.0),
        ],
    )
    def test_known_values(self, total: int, step: int, decay: float) -> None:
        assert ExponentialMovingAverage(model(), total).decay(step) == pytest.approx(decay)

    def test_grows_to_a_hundredth_of_the_run(self) -> None:
        average = ExponentialMovingAverage(model(), 5000)
        decays = [average.decay(step) for step in range(5000)]
        assert decays == sorted(decays)
        assert decays[-1] == pytest.approx(1 - 1 / 50)
        assert all(0 <= decay < 1 for decay in decays)


class TestUpdate:
    def test_parameters_and_statistics_follow_the_formula(self) -> None:
        network = model(0.0)
        average = ExponentialMovingAverage(network, 10_000)
        expected = 0.0
        for step in range(20):
            fill(network, float(step + 1))
            average.update(network, step)
            decay = min(0.99, (1 + step) / (10 + step))
            expected = decay * expected + (1 - decay) * (step + 1)
            assert values(average.model) == pytest.approx([expected] * 6, rel=1e-4)
        assert int(average.model[1].num_batches_tracked) == 20
        assert values(network) == [20.0] * 6

    def test_a_constant_stays_that_constant(self) -> None:
        network = model(3.0)
        average = ExponentialMovingAverage(network, 1000)
        for step in range(50):
            average.update(network, step)
        assert values(average.model) == [3.0] * 6

    def test_a_run_too_short_to_average_keeps_the_weights_themselves(self) -> None:
        network = model(0.0)
        average = ExponentialMovingAverage(network, 20)
        fill(network, 7.0)
        average.update(network, 0)
        assert values(average.model) == [7.0] * 6

    def test_is_a_model_of_its_own_for_evaluation(self) -> None:
        network = model(1.0).train()
        average = ExponentialMovingAverage(network, 1000)
        assert not average.model.training
        assert not any(parameter.requires_grad for parameter in average.model.parameters())
        network(torch.rand(2, 2, 3, 3)).sum().backward()
        average.update(network, 0)
        fill(network, 9.0)
        assert 9.0 not in values(average.model)
        assert network.training
        assert all(parameter.requires_grad for parameter in network.parameters())

    def test_no_memory_layout_or_shape_is_lost(self) -> None:
        network = nn.Sequential(nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3, groups=8)).to(memory_format=torch.channels_last)
        before = [tensor.stride() for tensor in network.state_dict().values()]
        average = ExponentialMovingAverage(network, 1000)
        average.update(network, 0)
        assert [tensor.stride() for tensor in average.model.state_dict().values()] == before
