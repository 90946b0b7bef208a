"""Where gates are put, and where their thresholds start."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_detector import small_detector
from torch import Tensor

from edgedet.models.quantized.detector import QuantizedDetector, traced
from edgedet.models.quantized.gated import gated_layers
from edgedet.models.quantized.recipe import Gating, Recipe
from edgedet.models.zoo import build_detector
from edgedet.quant.calibrate import observe, quantize
from edgedet.quant.gating import FAR, let_thresholds_learn, one_threshold, pull, start_thresholds, updates
from edgedet.quant.placement import Candidate, candidates, gateable, placed

LARGE = ("backbone.middle", "neck.laterals.0", "neck.laterals.1", "neck.top_down.0", "head.towers.0.0")
"""Layers with 48 positions or more on the images: a share of fewer is no exact one."""


def images() -> Tensor:
    return torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def gated(**how: Any) -> QuantizedDetector:
    detector = small_detector("gfl", 2).eval()
    histograms = observe(detector, lambda: [(images(), "noise")])
    gating = Gating(layers=gateable(traced(detector)), **how)
    return quantize(detector, histograms, method="max", recipe=Recipe(gating=gating))


def shares(quantized: QuantizedDetector) -> dict[str, float]:
    """Of what each layer updates on the images."""
    quantized(images())
    return {name: float(conv.gate.opened) for name, conv in gated_layers(quantized.network).items()}


@pytest.mark.parametrize("granularity", ["element", "pixel"])
@pytest.mark.parametrize("share", [0.25, 0.6])
def test_every_layer_updates_the_share(granularity: Any, share: float) -> None:
    quantized = gated(granularity=granularity)
    start_thresholds(quantized, images(), share)
    large = [found for name, found in shares(quantized).items() if name.startswith(LARGE)]
    assert large == pytest.approx([share] * len(LARGE), abs=0.05)
    for conv in gated_layers(quantized.network).values():
        same = conv.gate.threshold.unique().numel() == 1
        assert same == (granularity == "pixel")
        assert (conv.gate.resting == conv.gate.threshold).all()


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("start", [start_thresholds, one_threshold])
def test_no_update_and_all(start: Any, share: float) -> None:
    quantized = gated()
    start(quantized, images(), share)
    assert set(shares(quantized).values()) == {share}


def test_one_number_for_all_opens_the_share_of_all_together() -> None:
    quantized = gated()
    one_threshold(quantized, images(), 0.3)
    layers = gated_layers(quantized.network)
    numbers = torch.cat([conv.gate.bounds() for conv in layers.values()])
    assert numbers.unique().numel() == 1
    assert all((conv.gate.sign == 1).all() for conv in layers.values())
    by_layer = shares(quantized)
    sizes = {name: _results(quantized, name) for name in layers}
    together = sum(by_layer[name] * sizes[name] for name in layers) / sum(sizes.values())
    assert together == pytest.approx(0.3, abs=0.15)
    assert max(by_layer.values()) - min(by_layer.values()) > 0.1


def _results(quantized: QuantizedDetector, layer: str) -> int:
    sizes = []
    conv = gated_layers(quantized.network)[layer]
    hook = conv.register_forward_hook(lambda *found: sizes.append(found[2].numel()))
    quantized(images())
    hook.remove()
    return sizes[0]


def test_the_pull_grows_with_the_square_of_the_distance() -> None:
    quantized = gated()
    let_thresholds_learn(quantized)
    assert float(pull(quantized).detach()) == 0
    layers = list(gated_layers(quantized.network).values())
    layers[0].gate.threshold.data += 0.5
    assert float(pull(quantized).detach()) == pytest.approx(0.25)
    pull(quantized).backward()
    gradient = layers[0].gate.threshold.grad
    assert gradient is not None and gradient.tolist() == pytest.approx([2 * 0.5 / len(gradient)] * len(gradient))


def test_updates_are_counted_by_multiply_accumulates() -> None:
    quantized = gated()
    layers = gated_layers(quantized.network)
    for conv in layers.values():
        conv.gate.rest_(torch.full_like(conv.gate.threshold, FAR))
    layers["neck.laterals.0.0"].gate.rest_(torch.full_like(layers["neck.laterals.0.0"].gate.threshold, -FAR))
    macs = {name: layers[name].weight[0].numel() * _results(quantized, name) for name in layers}
    assert updates(quantized).tolist() == [macs["neck.laterals.0.0"], sum(macs.values())]
    assert updates(quantized).dtype == torch.float32, "Apple's GPUs have no float64"


class TestPlacement:
    def test_dense_convolutions_with_a_normalisation_but_the_first(self) -> None:
        network = traced(build_detector("mobilenetv2_0.5", 2))
        layers = gateable(network)
        assert "backbone.features.0.0" not in layers and "head.outputs.0" not in layers
        assert "backbone.features.2.conv.0.0" in layers and "neck.laterals.0.0" in layers
        assert all(network.get_submodule(layer).groups == 1 for layer in layers)
        assert len(layers) == 51

    def test_candidates_know_their_cost_and_what_their_high_bits_do(self) -> None:
        detector = small_detector("gfl", 2).eval()
        ranges = {name: found.largest for name, found in observe(detector, lambda: [(images(), "noise")]).items()}

        def errors(high_bits: int) -> dict[str, float]:
            gating = Gating(layers=(), bits=8, high_bits=high_bits)
            found = candidates(detector, lambda edge, _: ranges[edge], [images()], gating)
            assert [one.layer for one in found] == list(gateable(traced(detector)))
            return {one.layer: one.error for one in found}

        few, many = errors(2), errors(7)
        assert all(few[layer] > 2 * many[layer] > 0 for layer in few)
        all_found = candidates(detector, lambda edge, _: ranges[edge], [images()], Gating(layers=()))
        (middle,) = [one for one in all_found if "middle" in one.layer]
        assert middle.macs == 8 * 8 * 9 * 4 * 4  # channels in and out, kernel, positions at 64 pixels and stride 16

    def test_the_cheapest_errors_come_first(self) -> None:
        found = [
            Candidate("a", 100, 0.5),
            Candidate("b", 300, 0.3),
            Candidate("c", 100, 0.01),
            Candidate("d", 500, 5.0),
        ]
        assert placed(found, 0.1) == ("c",)
        assert placed(found, 0.4) == ("b", "c")
        assert placed(found, 0.5) == ("a", "b", "c")
        assert placed(found, 1.0) == ("a", "b", "c", "d")
        assert placed(found, 0.05) == ()


def test_observing_leaves_the_detector_as_it_was() -> None:
    quantized = gated()
    before = {name: tensor.clone() for name, tensor in quantized.state_dict().items() if ".gate." not in name}
    start_thresholds(quantized, images(), 0.5)
    after = quantized.state_dict()
    assert all((after[name] == tensor).all() for name, tensor in before.items())
    assert not any(conv._forward_hooks for conv in gated_layers(quantized.network).values())
