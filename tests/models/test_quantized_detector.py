"""Which tensors lie on which grid, and that nothing else changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_detector import small_detector
from torch import fx, nn

from edgedet.errors import EdgedetError
from edgedet.graph.source import find_model
from edgedet.models.checkpoint import load_checkpoint, save_checkpoint
from edgedet.models.detector import Detector
from edgedet.models.dropblock import DropBlock
from edgedet.models.quantized.detector import (
    QuantizedDetector,
    folded,
    traced,
    with_rounded_carriers,
    without_rounding,
)
from edgedet.models.quantized.edges import FLOAT_FROM, Edge, find_edges
from edgedet.models.quantized.fake_quantize import FakeQuantize, QuantizedConv2d
from edgedet.models.quantized.recipe import Recipe
from edgedet.quant.calibrate import observe, quantize

FAMILIES = ["shufflenetv2_0.5x", "mobilenetv2_0.35", "squeezenet_1.1"]
IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def float_detector(name: str) -> tuple[Detector, Any]:
    detector, spec = find_model(name, classes=3, size=(64, 64))
    assert isinstance(detector, Detector)
    return detector, spec


@pytest.fixture(params=FAMILIES)
def detector(request: pytest.FixtureRequest) -> Detector:
    return float_detector(request.param)[0]


def quantized_of(detector: Detector, **recipe: Any) -> QuantizedDetector:
    dtype = next(detector.parameters()).dtype
    histograms = observe(detector, lambda: [(IMAGES.to(dtype), "noise")])
    return quantize(detector, histograms, method="max", recipe=Recipe(**recipe))


def edges_by_node(network: fx.GraphModule) -> dict[str, Edge]:
    return {node: edge for edge in find_edges(network) for node in (*edge.sources, *edge.carriers)}


def test_every_tensor_has_one_grid_and_all_its_readers_see_it(detector: Detector) -> None:
    network = traced(detector)
    edges = find_edges(network)
    members = [node for edge in edges for node in (*edge.sources, *edge.carriers)]
    assert len(members) == len(set(members))
    assert len({edge.name for edge in edges}) == len(edges)
    of = edges_by_node(network)
    for node in network.graph.nodes:
        module = network.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, nn.Conv2d):
            assert all(source.name in of for source in node.all_input_nodes), node.name
        if node.target is torch.cat and node.name in of:
            assert {of[source.name] for source in node.all_input_nodes} == {of[node.name]}, "a concatenation copies"


def test_the_logits_and_what_follows_stay_float(detector: Detector) -> None:
    network = traced(detector)
    of = edges_by_node(network)
    behind = [node for node in network.graph.nodes if str(node.target).startswith(FLOAT_FROM)]
    assert len(behind) == 4
    assert not [node.name for node in behind if node.name in of]
    for node in behind:
        assert isinstance(quantized_of(detector).network.get_submodule(str(node.target)), QuantizedConv2d), (
            "its weights"
        )


def test_values_lie_on_the_grids_and_the_logits_near_the_floats(detector: Detector) -> None:
    quantized = quantized_of(detector)
    seen = []
    for name, quantizer in quantized.quantizers().items():
        quantizer.register_forward_hook(lambda module, _, out, name=name: seen.append((name, out / module.scale)))
    with torch.no_grad():
        found, expected = quantized(IMAGES), detector(IMAGES)
    assert {name for name, _ in seen} == set(quantized.quantizers())
    for name, steps in seen:
        assert steps.min() >= -128 and steps.max() <= 127.01, name
        torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-3)
    correlation = torch.corrcoef(torch.stack([found.flatten(), expected.flatten()]))[0, 1]
    assert correlation > 0.99
    assert not torch.equal(found, expected)


def test_folding_and_rounding_once_more_change_nothing(detector: Detector) -> None:
    quantized = quantized_of(detector.double())
    inference = with_rounded_carriers(folded(quantized))
    assert not [module for module in inference.modules() if isinstance(module, nn.BatchNorm2d)]
    assert [module for module in quantized.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        torch.testing.assert_close(inference(IMAGES.double()), quantized(IMAGES.double()), rtol=0, atol=1e-9)


def test_folding_turns_a_channels_grid_over_with_a_negative_normalisation(detector: Detector) -> None:
    """Also where training left weights beyond their grid, on either end."""
    torch.manual_seed(0)
    quantized = quantized_of(detector.double())
    for module in quantized.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.mul_(torch.where(torch.rand_like(module.weight) < 0.5, -1.0, 1.0))
        if isinstance(module, QuantizedConv2d):
            module.weight_quantizer.scale.data.mul_(0.7)
    convs = [module for module in quantized.modules() if isinstance(module, QuantizedConv2d)]
    for highest in (64, 127):
        ends = [(conv, highest * scale_of(conv)) for conv in convs if conv.weight_quantizer.highest == highest]
        assert any((conv.weight < -1.01 * end).any() for conv, end in ends)
        assert any((conv.weight > 1.01 * end).any() for conv, end in ends)
    inference = folded(quantized)
    with torch.no_grad():
        torch.testing.assert_close(inference(IMAGES.double()), quantized(IMAGES.double()), rtol=0, atol=1e-9)
    for module in inference.modules():
        if isinstance(module, QuantizedConv2d):
            end = (module.weight_quantizer.highest + 0.001) * scale_of(module)
            assert (module.weight.abs() <= end).all(), "ONNX's grid goes on"


def scale_of(conv: QuantizedConv2d) -> torch.Tensor:
    return conv.weight_quantizer.scale.detach().view(-1, 1, 1, 1)


def test_what_is_kept_float_is_not_rounded_and_its_readers_keep_their_weights() -> None:
    detector, _ = float_detector("mobilenetv2_0.35")
    every = quantized_of(detector)
    kept = quantized_of(detector, keep_float=("images",))
    assert set(every.quantizers()) - set(kept.quantizers()) == {"images"}
    assert isinstance(every.network.get_submodule("backbone.features.0.0"), QuantizedConv2d)
    assert not isinstance(kept.network.get_submodule("backbone.features.0.0"), QuantizedConv2d)
    nothing = quantized_of(detector, keep_float=tuple(every.quantizers()))
    assert not [module for module in nothing.modules() if isinstance(module, FakeQuantize)]
    with torch.no_grad():
        torch.testing.assert_close(nothing(IMAGES), detector(IMAGES), rtol=0, atol=1e-6)


def test_an_edge_that_is_not_there_is_named() -> None:
    detector, _ = float_detector("squeezenet_1.1")
    with pytest.raises(EdgedetError, match="unknown edge 'image'") as caught:
        QuantizedDetector(detector, Recipe(keep_float=("image",)))
    assert "did you mean 'images'" in str(caught.value.fix)


@pytest.mark.parametrize("head", ["fcos", "ssdlite", "yolo"])
def test_every_head_is_quantized_and_means_what_it_meant(head: str) -> None:
    """Its towers are rounded, its outputs and their decoding are not."""
    detector = small_detector(head, 3).eval()
    quantized = QuantizedDetector(detector, Recipe())
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    points, strides = quantized.points(64, 96)
    with torch.no_grad():
        raw = detector(images)
        torch.testing.assert_close(without_rounding(quantized)(images), raw)
    for mine, its in zip(quantized.points(64, 96), detector.points(64, 96), strict=True):
        assert torch.equal(mine, its)
    for mine, its in zip(quantized.decode(raw, points, strides), detector.decode(raw, points, strides), strict=True):
        assert torch.equal(mine, its)
    assert any("tower" in edge.name for edge in quantized.edges)
    assert not any("outputs" in edge.name for edge in quantized.edges)
    assert (quantized.num_classes, quantized.strides) == (3, detector.strides)


def test_pools_lie_on_the_grid_of_the_map_that_they_pool_and_nothing_is_dropped() -> None:
    detector = small_detector("gfl", 3, spp=True, dropblock=0.9, dropblock_size=2).eval()
    quantized = quantized_of(detector)
    assert not [module for module in quantized.modules() if isinstance(module, DropBlock)]
    assert len([module for module in detector.modules() if isinstance(module, DropBlock)]) == 2
    (edge,) = (edge for edge in quantized.edges if edge.name == "neck.laterals.2.2")
    pools = {f"neck_laterals_2_3_pools_{index}" for index in range(3)}
    assert pools < set(edge.carriers), "and what joins them"
    assert isinstance(quantized.network.get_submodule("neck.laterals.2.3.merge.0"), QuantizedConv2d)
    with torch.no_grad():
        assert torch.equal(without_rounding(quantized)(IMAGES), detector(IMAGES))


def test_what_is_excited_is_rounded_and_its_gates_are_not() -> None:
    detector = small_detector("gfl", 3, se=True).eval()
    quantized = quantized_of(detector)
    excited = {name for name in quantized.quantizers() if name.startswith("mul")}
    assert len(excited) == 4
    assert not [name for name in quantized.quantizers() if name.endswith("gates.3")]
    assert isinstance(quantized.network.get_submodule("neck.top_down.0.1.gates.0"), QuantizedConv2d)
    with torch.no_grad():
        assert torch.equal(without_rounding(quantized)(IMAGES), detector(IMAGES))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, QuantizedDetector]:
    detector, spec = float_detector("shufflenetv2_0.5x")
    path = tmp_path_factory.mktemp("int8") / "int8.pt"
    quantized = quantized_of(detector, keep_float=("images",))
    save_checkpoint(path, quantized, spec)
    return path, quantized


@pytest.fixture
def path(saved: tuple[Path, QuantizedDetector]) -> Path:
    return saved[0]


class TestCheckpoint:
    def test_it_comes_back_as_it_was(self, saved: tuple[Path, QuantizedDetector]) -> None:
        path, quantized = saved
        loaded = load_checkpoint(path).detector
        assert isinstance(loaded, QuantizedDetector)
        assert loaded.recipe == Recipe(keep_float=("images",))
        with torch.no_grad():
            assert torch.equal(loaded(IMAGES), quantized(IMAGES))

    def test_where_a_float_one_is_needed_it_is_refused(self, path: Path) -> None:
        with pytest.raises(EdgedetError, match="quantized already"):
            _ = load_checkpoint(path).float_detector

    @pytest.mark.parametrize(
        "text", ["{", "[]", '{"keep_float": ["nowhere"]}', '{"version": 1}', '{"bits": 4}', 7, "[" * 10**5]
    )
    def test_a_recipe_that_is_none_is_refused(self, path: Path, tmp_path: Path, text: Any) -> None:
        content = torch.load(path, weights_only=True)
        torch.save({**content, "quantization": text}, tmp_path / "other.pt")
        with pytest.raises(EdgedetError, match="quantization is not one of this model") as caught:
            load_checkpoint(tmp_path / "other.pt")
        assert caught.value.fix == "quantize the float checkpoint again"

    @pytest.mark.parametrize("name", ["quantizers.0", "backbone.stage2.0.branch1.0.weight_quantizer"])
    @pytest.mark.parametrize("scale", [0.0, -0.1])
    def test_a_grid_without_width_is_refused(self, path: Path, tmp_path: Path, name: str, scale: float) -> None:
        content = torch.load(path, weights_only=True)
        content["weights"][f"network.{name}.scale"].fill_(scale)
        torch.save(content, tmp_path / "other.pt")
        with pytest.raises(EdgedetError, match="grid without width"):
            load_checkpoint(tmp_path / "other.pt")

    def test_weights_of_a_float_one_do_not_fit(self, path: Path, tmp_path: Path) -> None:
        content = torch.load(path, weights_only=True)
        torch.save({**content, "quantization": None}, tmp_path / "other.pt")
        with pytest.raises(EdgedetError, match="weights are not those"):
            load_checkpoint(tmp_path / "other.pt")
