"""Folding changes how a network computes, not what."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from edgedet.graph.source import find_model
from edgedet.models.backbones.shufflenetv2 import interleave
from edgedet.models.detector import Detector
from edgedet.models.folding.batch_norm import fold_batch_norm
from edgedet.models.folding.channel_shuffle import FoldedStage, fold_channel_shuffles
from edgedet.models.folding.shuffle_plan import plan_shuffles
from edgedet.models.zoo import build_detector

SHUFFLENETS = ["shufflenetv2_0.5x", "shufflenetv2_1.0x", "shufflenetv2_1.5x"]


def detector_of(name: str) -> Detector:
    """In eval mode, with batch normalisation that does something."""
    return find_model(name, classes=3)[0]


def shuffled(sources: list[Tensor]) -> Iterator[Tensor]:
    """What each reader takes, by ShuffleNetV2's own split, interleave, split, ..."""
    flow = interleave(sources[0], sources[1])
    for source in sources[2:]:
        passed, convolved = flow.chunk(2, dim=1)
        yield convolved
        flow = interleave(passed, source)
    yield flow


@given(st.integers(1, 70), st.integers(1, 9))
def test_slices_in_the_plans_order_are_what_the_shuffles_deliver(channels: int, units: int) -> None:
    plan = plan_shuffles(channels, units)
    sources = [torch.arange(channels).view(1, -1, 1, 1) + 1000 * source for source in range(units + 1)]
    reordered = [source[:, list(order)] for source, order in zip(sources, plan.source_orders, strict=True)]
    slices = [source.split(list(shares), dim=1) for source, shares in zip(reordered, plan.shares, strict=True)]
    for reader, (order, expected) in enumerate(zip(plan.reader_orders, shuffled(sources), strict=True)):
        arrived = torch.cat([parts[reader] for parts in slices], dim=1)
        assert torch.equal(arrived, expected[:, list(order)])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", SHUFFLENETS)
def test_a_folded_detector_gives_the_same_logits(name: str, training: bool) -> None:
    detector = detector_of(name).double().train(training)
    folded = fold_channel_shuffles(detector)
    images = torch.rand(2, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        expected, found = detector(images), folded(images)
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_names_and_shapes_of_the_weights_stay_and_the_original_is_left_alone() -> None:
    detector = detector_of("shufflenetv2_0.5x")
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    folded = fold_channel_shuffles(detector)
    assert isinstance(folded.backbone.stage3, FoldedStage)
    after = detector.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert {name: tensor.shape for name, tensor in folded.state_dict().items()} == {
        name: tensor.shape for name, tensor in before.items()
    }
    again = fold_channel_shuffles(folded).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in folded.state_dict().items())


@pytest.mark.parametrize("name", ["mobilenetv2_0.35", "squeezenet_1.1"])
def test_other_backbones_are_copied(name: str) -> None:
    detector = build_detector(name, 3)
    folded = fold_channel_shuffles(detector)
    assert folded is not detector and type(folded.backbone) is type(detector.backbone)
    assert all(torch.equal(*pair) for pair in zip(folded.parameters(), detector.parameters(), strict=True))


def test_a_unit_of_unknown_layout_is_named_and_nothing_is_folded(caplog: pytest.LogCaptureFixture) -> None:
    detector = detector_of("shufflenetv2_0.5x")
    branch = detector.backbone.stage3[2].branch2
    branch[3] = nn.Conv2d(48, 48, 3, padding=1, groups=2, bias=False)
    with caplog.at_level(logging.WARNING):
        folded = fold_channel_shuffles(detector)
    assert "stage3.2" in caplog.text
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(folded(images), detector(images), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["mobilenetv2_0.35", "shufflenetv2_0.5x", "squeezenet_1.1"])
def test_batch_normalisation_folds_into_the_weights(name: str) -> None:
    detector = detector_of(name).double()
    folded = fold_batch_norm(detector)
    assert not [layer for layer in folded.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert [layer for layer in detector.modules() if isinstance(layer, nn.BatchNorm2d)]
    images = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(folded(images), detector(images), rtol=0, atol=1e-10)
