"""BatchNorm's statistics: held, and estimated again."""

from __future__ import annotations

import copy

import torch
from torch import nn

from edgedet.quant.batch_norm import estimate_statistics, hold_statistics


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.BatchNorm2d(4))
    for layer in (layers[1], layers[4]):
        layer.running_mean.fill_(100.0)
    return layers.eval()


def test_estimated_statistics_are_the_means_over_the_batches() -> None:
    layers = network()
    batches = [torch.randn(n, 3, 5, 5) * spread for n, spread in ((4, 1.0), (4, 3.0), (2, 0.1))]
    estimate_statistics(layers, batches)
    outputs = [layers[0](batch).detach() for batch in batches]
    mean = torch.stack([output.mean(dim=(0, 2, 3)) for output in outputs]).mean(dim=0)
    variance = torch.stack([output.transpose(0, 1).flatten(1).var(dim=1) for output in outputs]).mean(dim=0)
    assert torch.allclose(layers[1].running_mean, mean, atol=1e-5)
    assert torch.allclose(layers[1].running_var, variance, rtol=1e-4)


def test_everything_else_stays_as_it_was() -> None:
    layers = network()
    before = copy.deepcopy(layers)
    estimate_statistics(layers, [torch.randn(4, 3, 5, 5)])
    assert not any(module.training for module in layers.modules())
    assert [layer.momentum for layer in layers if isinstance(layer, nn.BatchNorm2d)] == [0.1, 0.1]
    for (name, now), then in zip(layers.named_parameters(), before.parameters(), strict=True):
        assert torch.equal(now, then), name
    assert not torch.equal(layers[4].running_mean, before[4].running_mean)


def test_without_images_nothing_changes() -> None:
    layers = network()
    estimate_statistics(layers, [])
    assert layers[1].running_mean.tolist() == [100.0] * 4


def test_held_statistics_are_used_and_stay() -> None:
    layers = network().train()
    hold_statistics(layers)
    images = torch.randn(4, 3, 5, 5)
    assert torch.equal(layers[:2](images), network()[:2](images))
    assert layers[1].running_mean.tolist() == [100.0] * 4
    assert layers[3].training, "only BatchNorm is held"
