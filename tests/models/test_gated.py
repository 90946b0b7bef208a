"""Gated convolutions inside a detector: what they read, what folding leaves of them, and what remains without gates."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from gated_detectors import rounded
from small_detector import small_detector
from torch import Tensor, nn

from edgedet.errors import EdgedetError
from edgedet.models.checkpoint import load_checkpoint, save_checkpoint
from edgedet.models.quantized.collapsing import collapsed
from edgedet.models.quantized.detector import QuantizedDetector, folded, traced
from edgedet.models.quantized.edges import find_edges
from edgedet.models.quantized.fake_quantize import QuantizedConv2d
from edgedet.models.quantized.gated import Gate, GatedQuantizedConv2d, gate_of, gated_layers
from edgedet.models.quantized.recipe import Gating, Recipe
from edgedet.models.zoo import build_detector
from edgedet.ops.gated_conv.definition import GatedConv
from edgedet.quant.calibrate import observe, quantize
from edgedet.quant.gating import FAR
from edgedet.quant.placement import gateable
from edgedet.spec import Preprocess, Spec


def images(seed: int = 0) -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def gated(bits: int = 8, high_bits: int = 4, **how: Any) -> QuantizedDetector:
    detector = small_detector("gfl", 2).eval()
    gating = Gating(layers=gateable(traced(detector)), bits=bits, high_bits=high_bits, **how)
    histograms = observe(detector, lambda: [(images(), "noise")])
    quantized = quantize(detector, histograms, method="max", recipe=Recipe(gating=gating))
    for grid in quantized.gate_grids().values():
        # A power of two: halves of steps fall the same way whatever they are divided by.
        grid.scale.copy_(grid.scale.log2().round().exp2())
    return quantized


def set_thresholds(quantized: QuantizedDetector, value: float) -> None:
    for conv in gated_layers(quantized.network).values():
        conv.gate.rest_(torch.full_like(conv.gate.threshold, value))


class TestCodes:
    def test_what_is_never_negative_has_all_bits_for_it(self) -> None:
        gating = Gating(layers=())
        assert gate_of(gating, signed=False) == GatedConv(4, 0, 255)
        assert gate_of(gating, signed=True) == GatedConv(4, -128, 127)

    def test_two_passes_of_8_bits(self) -> None:
        """The high part of 32639 is 127 steps of 256, and its low part 127."""
        wide = gate_of(Gating(layers=(), bits=16, high_bits=8), signed=False)
        assert (wide.lowest, wide.highest, wide.step) == (-32640, 32639, 256)
        assert gate_of(Gating(layers=(), bits=12, high_bits=8), signed=False).highest == 2047

    @pytest.mark.parametrize(("bits", "high_bits"), [(4, 4), (3, 4), (16, 7)])
    def test_no_low_bits_or_too_many(self, bits: int, high_bits: int) -> None:
        with pytest.raises(EdgedetError, match="low ones"):
            gate_of(Gating(layers=(), bits=bits, high_bits=high_bits), signed=False)


ALONE, SHARED, TOO = "backbone.stage2.0.branch2.5", "backbone.stage2.1.branch2.0", "backbone.stage2.2.branch2.0"
"""Reads what nothing else reads; what others read, too, without gates; and the same."""


class TestWhatIsSplit:
    def quantized(self, layers: tuple[str, ...] = (ALONE, SHARED, TOO), **how: Any) -> QuantizedDetector:
        detector = build_detector("shufflenetv2_0.5x", 2).eval()
        keep_float = how.pop("keep_float", ())
        return QuantizedDetector(detector, Recipe(keep_float=keep_float, gating=Gating(layers=layers, **how)))

    def test_of_8_bits_the_codes_of_edges(self) -> None:
        """So whole inputs are those of plain INT8, and no tensor is rounded twice."""
        quantized = self.quantized()
        assert quantized.edges == find_edges(traced(build_detector("shufflenetv2_0.5x", 2)))
        edges, grids = quantized.quantizers(), quantized.gate_grids()
        assert list(grids) == [ALONE, SHARED, TOO]
        for layer in grids:
            assert grids[layer] is edges[quantized.gated_inputs[layer]]
        layers = gated_layers(quantized.network)
        assert layers[ALONE].definition.lowest < 0  # of a depthwise convolution without activation
        assert layers[SHARED].definition.lowest == 0
        assert (grids[ALONE].highest, grids[SHARED].highest) == (127, 255)
        assert {grid.highest for name, grid in edges.items() if name not in quantized.gated_inputs.values()} == {127}

    @pytest.mark.parametrize(("bits", "highest"), [(6, 63), (4, 15)])
    def test_of_other_bits_a_grid_for_all_gates_of_an_edge(self, bits: int, highest: int) -> None:
        quantized = self.quantized(bits=bits, high_bits=2)
        edges, grids = quantized.quantizers(), quantized.gate_grids()
        assert grids[SHARED] is grids[TOO] and grids[SHARED] is not grids[ALONE]
        assert grids[SHARED].highest == highest
        assert not {*grids.values()} & {*edges.values()}
        assert quantized.gated_inputs[ALONE] not in edges, "nothing else rounds it"
        assert quantized.gated_inputs[SHARED] in edges

    def test_of_more_bits_what_nothing_else_rounds(self) -> None:
        with pytest.raises(EdgedetError, match="16 cannot be split") as caught:
            self.quantized(bits=16, high_bits=8)
        edge = self.quantized().gated_inputs[SHARED]
        assert edge in str(caught.value.fix)
        wide = self.quantized(bits=16, high_bits=8, keep_float=(edge,))
        assert {grid.highest for grid in wide.gate_grids().values()} == {32639}
        assert edge not in wide.quantizers()
        assert self.quantized((ALONE,), bits=16, high_bits=8).gate_grids()

    def test_where_an_edge_of_8_bits_is_kept_float(self) -> None:
        edge = self.quantized().gated_inputs[SHARED]
        quantized = self.quantized(keep_float=(edge,))
        grids = quantized.gate_grids()
        assert edge not in quantized.quantizers() and grids[SHARED] is grids[TOO]
        assert quantized(images()).isfinite().all()


@pytest.mark.parametrize("layer", ["backbone.stage2.0.branch2.3", "head.outputs.0"])
def test_depthwise_convolutions_and_logits_have_no_gate(layer: str) -> None:
    detector = build_detector("shufflenetv2_0.5x", 2)
    with pytest.raises(EdgedetError, match="cannot be gated"):
        QuantizedDetector(detector, Recipe(gating=Gating(layers=(layer,))))


def test_a_layer_that_is_not_there_is_named() -> None:
    with pytest.raises(EdgedetError, match=r"backbone\.nothing"):
        QuantizedDetector(small_detector("gfl", 2), Recipe(gating=Gating(layers=("backbone.nothing",))))


@pytest.mark.parametrize("granularity", ["element", "pixel", "tile"])
class TestThresholdsWithoutEnd:
    def test_all_open_is_the_detector_of_all_bits(self, granularity: Any) -> None:
        quantized = gated(granularity=granularity)
        set_thresholds(quantized, -FAR)
        logits = quantized(images())
        assert all(conv.gate.opened == 1 for conv in gated_layers(quantized.network).values())
        assert plain(quantized, "full")(images()).sub(logits).abs().max() < 1e-5

    def test_all_closed_is_the_detector_of_the_high_bits(self, granularity: Any) -> None:
        quantized = gated(granularity=granularity)
        set_thresholds(quantized, FAR)
        logits = quantized(images())
        assert all(conv.gate.opened == 0 for conv in gated_layers(quantized.network).values())
        assert plain(quantized, "high")(images()).sub(logits).abs().max() < 1e-5
        set_thresholds(quantized, -FAR)
        assert quantized(images()).sub(logits).abs().max() > 3e-4


def plain(quantized: QuantizedDetector, part: Any) -> nn.Module:
    """Without gates, and with the grid of all 8 bits that the master has 7 of."""
    found = collapsed(quantized, part)
    convs = [module for module in found.network.modules() if isinstance(module, QuantizedConv2d)]
    assert not gated_layers(found.network) and convs
    edges = found.quantizers()
    for name, source in quantized.quantizers().items():
        assert edges[name].highest == 127
        edges[name].highest = source.highest
        edges[name].scale.copy_(source.scale)
    return found


class TestFolding:
    FACTORS = torch.tensor([1.0, -1.0, 2.0, -4.0])
    """Powers of two, so that folded sums stay what they were."""

    def layer(self) -> tuple[GatedQuantizedConv2d, nn.BatchNorm2d]:
        torch.manual_seed(1)
        norm = nn.BatchNorm2d(4, eps=0.0).eval()
        norm.weight.data.copy_(self.FACTORS)
        norm.running_mean = torch.randn(4)
        conv = GatedQuantizedConv2d(nn.Conv2d(8, 4, 1, bias=False), norm, GatedConv())
        conv.gate.rest_(torch.randn(4) * 0.1)
        return conv.eval(), norm

    def test_a_gate_decides_as_before(self) -> None:
        conv, norm = self.layer()
        x = rounded(torch.randn(2, 8, 5, 5))
        before = norm(conv(*x))
        share = float(conv.gate.opened)
        after = copy.deepcopy(conv)
        after.weight.data *= self.FACTORS.view(-1, 1, 1, 1)
        after.weight_quantizer.scale *= self.FACTORS.abs()
        after.gate.fold_(self.FACTORS)
        after.bias = nn.Parameter(norm.bias - norm.running_mean * self.FACTORS)
        assert after(*x).sub(before).abs().max() < 1e-5
        assert 0.2 < share < 0.8 and float(after.gate.opened) == share
        assert after.gate.sign.tolist() == (conv.gate.sign * self.FACTORS.sign()).tolist()

    def test_a_channel_that_is_turned_over_wants_the_update_where_it_ends_up_large(self) -> None:
        conv, _ = self.layer()
        assert conv.gate.sign.tolist() == [1, -1, 1, -1]
        assert conv.gate.bounds().tolist() == pytest.approx(
            (conv.gate.center + conv.gate.sign * conv.gate.unit * conv.gate.threshold).tolist()
        )

    @pytest.mark.parametrize("granularity", ["element", "pixel", "tile"])
    def test_a_channel_that_the_normalisation_makes_nothing_of_wants_nothing(self, granularity: Any) -> None:
        """Otherwise it would open the gates of all channels, and once it is folded it could not."""
        quantized = gated(granularity=granularity, tile=3)
        norm = quantized.network.get_submodule("neck.laterals.0.1")
        assert isinstance(norm, nn.BatchNorm2d)
        norm.weight.data[1] = 0.0
        conv = quantized.network.get_submodule("neck.laterals.0.0")
        assert isinstance(conv, GatedQuantizedConv2d) and conv.out_channels == norm.num_features
        dead = Gate(norm)
        assert dead.sign[1] == 0 and dead.sign.abs().sum() == norm.num_features - 1
        conv.gate.sign.copy_(dead.sign)
        for gate in (one.gate for one in gated_layers(quantized.network).values()):
            gate.rest_(torch.full_like(gate.threshold, 0.5))
        before = quantized(images())
        after = folded(quantized)
        logits = after(images())
        gates = [gated_layers(one.network)["neck.laterals.0.0"].gate for one in (quantized, after)]
        assert 0 < float(gates[0].opened) < 1
        assert float(gates[1].opened) == pytest.approx(float(gates[0].opened), abs=0.02)
        assert gates[1].unit.min() > 0 and gates[1].sign[1] == 0
        assert logits.isfinite().all() and logits.sub(before).abs().mean() < 1e-2 * before.abs().max()

    def test_of_a_whole_detector(self) -> None:
        quantized = gated()
        logits = quantized(images())
        apart = folded(quantized)(images()).sub(logits).abs()
        assert apart.mean() < 1e-2 * logits.abs().max()  # sums beside a threshold may fall either way


def test_the_gradient_reaches_thresholds_that_are_let_learn() -> None:
    quantized = gated().train()
    for conv in gated_layers(quantized.network).values():
        conv.gate.threshold.requires_grad_(True)
    quantized(images()).square().sum().backward()
    gradients = [conv.gate.threshold.grad for conv in gated_layers(quantized.network).values()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert sum(float(gradient.abs().sum()) for gradient in gradients if gradient is not None) > 0


def test_a_checkpoint_comes_back_with_its_gates(tmp_path: Path) -> None:
    detector = build_detector("shufflenetv2_0.5x", 2).eval()
    gating = Gating(layers=gateable(traced(detector))[:3], granularity="tile", tile=4)
    quantized = QuantizedDetector(detector, Recipe(gating=gating)).eval()
    set_thresholds(quantized, 0.25)
    spec = Spec(
        model="shufflenetv2_0.5x",
        class_names=("a", "b"),
        strides=detector.strides,
        preprocess=Preprocess(height=64, width=64),
    )
    save_checkpoint(tmp_path / "gated.pt", quantized, spec)
    back = load_checkpoint(tmp_path / "gated.pt").detector
    assert isinstance(back, QuantizedDetector) and back.recipe == quantized.recipe
    assert (back(images()) == quantized(images())).all()


def test_a_channel_of_one_value_has_a_unit() -> None:
    gate = Gate(nn.BatchNorm2d(3))
    gate.measure_(torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1))
    assert gate.center.tolist() == [1, 2, 3] and gate.unit.isfinite().all() and gate.unit.min() > 0


def test_a_gate_needs_statistics_that_are_there() -> None:
    gate = Gate(nn.BatchNorm2d(3))
    assert gate.unit.tolist() == pytest.approx([1.0] * 3, abs=1e-4)
    assert "opened" not in gate.state_dict()
