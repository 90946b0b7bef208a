"""The weights of a gated detector with other gates."""

from __future__ import annotations

import pytest
import torch
from gated_detectors import NOISE, gated_detector, gated_layer, rounded

from edgedet.models.quantized.detector import QuantizedDetector
from edgedet.models.quantized.gated import gated_layers
from edgedet.quant.gate_variants import GateUse, RandomlyGated, fitted_grid, uniform, variants
from edgedet.quant.gating import FAR


@pytest.fixture(scope="module")
def gated() -> QuantizedDetector:
    return gated_detector(0.5)


def uses_of(detector: QuantizedDetector, share: float) -> list[GateUse]:
    return [GateUse(name, 1000 + place, share) for place, name in enumerate(gated_layers(detector.network))]


@pytest.fixture(scope="module")
def made(gated: QuantizedDetector) -> dict[str, QuantizedDetector]:
    return variants(gated, uses_of(gated, 0.5), 6, NOISE)


@torch.no_grad()
def test_all_and_no_gates_open(made: dict[str, QuantizedDetector]) -> None:
    for name, share in (("full", 1.0), ("high", 0.0)):
        made[name](NOISE)
        assert {float(conv.gate.opened) for conv in gated_layers(made[name].network).values()} == {share}


@torch.no_grad()
def test_whole_layers_are_open_of_at_least_as_many_bits(gated: QuantizedDetector) -> None:
    uses = uses_of(gated, 0.4)
    static = variants(gated, uses, 6, NOISE)["static"]
    static(NOISE)
    shares = {name: float(conv.gate.opened) for name, conv in gated_layers(static.network).items()}
    assert set(shares.values()) == {0.0, 1.0}
    opened = sum(one.macs for one in uses if shares[one.layer] == 1.0)
    total = sum(one.macs for one in uses)
    assert 0.4 * total <= opened <= 0.4 * total + max(one.macs for one in uses)


@torch.no_grad()
def test_the_layers_left_open_are_those_that_matter(gated: QuantizedDetector) -> None:
    """Keeping the better half of the layers is nearer to all bits than keeping the other half."""
    found = variants(gated, uses_of(gated, 0.5), 8, NOISE)
    exact = found["full"](NOISE)
    other = found["high"]
    opened = found["static"]
    opened(NOISE)
    for name, conv in gated_layers(opened.network).items():
        threshold = FAR if float(conv.gate.opened) == 1.0 else -FAR
        twin = gated_layers(other.network)[name]
        twin.gate.rest_(torch.full_like(twin.gate.threshold, threshold))
    assert (opened(NOISE) - exact).square().mean() < (other(NOISE) - exact).square().mean()


@torch.no_grad()
def test_uniform_bits(gated: QuantizedDetector, made: dict[str, QuantizedDetector]) -> None:
    full = made["full"]
    exact = full(NOISE)
    errors = [float((uniform(full, bits, NOISE)(NOISE) - exact).square().mean()) for bits in (2, 4, 6)]
    assert errors == sorted(errors, reverse=True) and errors[2] > 0
    assert (uniform(full, 6, NOISE)(NOISE) == made["uniform"](NOISE)).all()
    assert (uniform(full, 8, NOISE)(NOISE) == made["uniform_all"](NOISE)).all()


def test_the_fitted_grid_is_the_best_of_those_tried() -> None:
    values = torch.randn(1, 4, 64, 64, generator=torch.Generator().manual_seed(1))
    values[0, 0, 0, 0] = 20.0  # one outlier must not stretch the grid over nothing
    grid = fitted_grid(values, 7)
    assert float(grid.scale) * 7 < 10
    error = (grid(values) - values).square().mean()
    for part in (0.5, 0.8, 1.25, 2.0):
        other = fitted_grid(values, 7)
        other.scale.mul_(part)
        assert (other(values) - values).square().mean() >= error * 0.999


@pytest.mark.parametrize("granularity", ["element", "pixel", "tile"])
@torch.no_grad()
def test_random_gates_open_as_often_and_decide_for_as_many_together(granularity: str) -> None:
    conv = gated_layer(granularity)
    x = rounded(torch.randn(1, 4, 32, 30))
    conv.gate.rest_(torch.full((8,), -1e4))
    full = conv(*x)
    conv.gate.rest_(torch.full((8,), 1e4))
    high = conv(*x)
    result = RandomlyGated(conv, 0.25, seed=1)(*x)
    differs = (full - high).abs() > 1e-6
    is_open = (result - full).abs() < 1e-6
    assert ((result - high).abs() < 1e-6)[differs & ~is_open].all()
    assert float(is_open[differs].float().mean()) == pytest.approx(0.25, abs=0.12)
    if granularity == "tile":
        inside = is_open[0, :, :4, :4][differs[0, :, :4, :4]]
        assert inside.all() or not inside.any()
    assert (RandomlyGated(conv, 0.25, seed=1)(*x) == result).all()
    assert (RandomlyGated(conv, 0.25, seed=2)(*x) != result).any()
