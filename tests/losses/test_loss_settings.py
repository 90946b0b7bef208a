"""The GFL head's loss with other losses and assigners than its own, and with objects that count less."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from edgedet.config import parse
from edgedet.errors import EdgedetError
from edgedet.losses.config import LossConfig
from edgedet.losses.detection import require_classes_to_smooth, require_loss_of, total
from edgedet.losses.gfl import gfl_loss
from edgedet.losses.targets import Targets
from edgedet.models.heads.geometry import anchor_points

CLASSES, BINS = 3, 8
POINTS, STRIDES = anchor_points(64, 64, (8, 16, 32, 64))
BOXES = torch.tensor([[5.0, 5.0, 40.0, 50.0], [30.0, 20.0, 60.0, 60.0]])
LABELS = torch.tensor([0, 2])
TWO, NOTHING = Targets(BOXES, LABELS), Targets(BOXES[:0], LABELS[:0])


def logits_of(images: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(images, len(POINTS), CLASSES + 4 * BINS, generator=generator).requires_grad_()


@pytest.mark.parametrize("assigner", ["dynamic", "simota", "tal", "atss", "fcos"])
@pytest.mark.parametrize("classification", ["qfl", "vfl", "focal", "bce"])
@pytest.mark.parametrize("box", ["giou", "diou", "ciou", "iou", "l1", "l2", "smooth_l1"])
def test_every_loss_goes_with_every_assigner(assigner: str, classification: str, box: str) -> None:
    config = parse(LossConfig, {"assigner": assigner, "classification": classification, "box": box})
    logits = logits_of(2)
    parts = gfl_loss(logits, POINTS, STRIDES, [TWO, NOTHING], config)
    assert all(part > 0 for part in parts.values())
    (gradient,) = torch.autograd.grad(total(parts), logits)
    assert gradient.isfinite().all() and gradient[1].abs().sum() > 0


@pytest.mark.parametrize("classification", ["qfl", "vfl"])
def test_a_quality_is_not_smoothed(classification: str) -> None:
    with pytest.raises(EdgedetError, match=f"does not go with loss.classification={classification}") as caught:
        require_loss_of("gfl", parse(LossConfig, {"classification": classification, "label_smoothing": 0.1}))
    assert caught.value.where == "loss.label_smoothing"
    assert caught.value.fix is not None and "loss.classification=focal" in caught.value.fix


@pytest.mark.parametrize("classification", ["bce", "focal"])
def test_labels_are_smoothed_over_several_classes_only(classification: str) -> None:
    config = parse(LossConfig, {"classification": classification, "label_smoothing": 0.1})
    require_loss_of("gfl", config)
    require_classes_to_smooth(config, 2)
    require_classes_to_smooth(LossConfig(), 1)
    with pytest.raises(EdgedetError, match="one class") as caught:
        require_classes_to_smooth(config, 1)
    assert caught.value.where == "loss.label_smoothing"


def test_smoothed_labels_pull_scores_from_both_ends() -> None:
    sure = torch.full((1, len(POINTS), CLASSES + 4 * BINS), 0.0)
    sure[..., :CLASSES] = -12.0
    sure[..., 0] = 12.0
    one = [Targets(BOXES[:1], LABELS[:1])]

    def loss(smoothing: float) -> float:
        config = LossConfig(classification="bce", label_smoothing=smoothing, negatives="top_k", top_k=1)
        return gfl_loss(sure, POINTS, STRIDES, one, config)["classification"].item()

    assert loss(0.1) > loss(0.0) + 0.5


@pytest.mark.parametrize(
    "negatives",
    [{"negatives": "hard", "negative_ratio": 3.0}, {"negatives": "top_k", "top_k": 20}],
    ids=["hard", "top_k"],
)
def test_only_the_hardest_negatives_are_learned_from(negatives: dict[str, object]) -> None:
    logits = logits_of(2)
    config = parse(LossConfig, {**negatives, "assigner": "dynamic"})
    (gradient,) = torch.autograd.grad(
        gfl_loss(logits, POINTS, STRIDES, [TWO, NOTHING], config)["classification"], logits
    )
    learning = gradient.abs().sum(dim=-1) > 0
    everywhere = logits.detach()[..., :CLASSES].sigmoid()
    assert 0 < learning[0].sum() < len(POINTS) and 0 < learning[1].sum() < len(POINTS)
    costs = (everywhere.square() * torch.nn.functional.softplus(logits.detach()[..., :CLASSES])).sum(dim=-1)[1]
    assert costs[learning[1]].min() >= costs[~learning[1]].max(), "an image without objects teaches by its worst points"


def test_repulsion_is_a_part_of_its_own() -> None:
    parts = gfl_loss(logits_of(1), POINTS, STRIDES, [TWO], LossConfig(repulsion_weight=0.5))
    twice = gfl_loss(logits_of(1), POINTS, STRIDES, [TWO], LossConfig(repulsion_weight=1.0))
    assert parts["repulsion"] > 0 and twice["repulsion"].item() == pytest.approx(2 * parts["repulsion"].item())
    assert "repulsion" not in gfl_loss(logits_of(1), POINTS, STRIDES, [TWO])


class TestShares:
    def test_objects_that_count_once_are_objects_without_weights(self) -> None:
        logits = logits_of(1)
        plain = gfl_loss(logits, POINTS, STRIDES, [TWO])
        weighed = gfl_loss(logits, POINTS, STRIDES, [Targets(BOXES, LABELS, torch.ones(2))])
        assert {name: part.item() for name, part in plain.items()} == {
            name: part.item() for name, part in weighed.items()
        }

    def test_an_object_that_counts_nothing_teaches_nothing(self) -> None:
        logits = logits_of(1)
        parts = gfl_loss(logits, POINTS, STRIDES, [Targets(BOXES[:1], LABELS[:1], torch.zeros(1))])
        assert parts["box"] == 0 and parts["distribution"] == 0
        (gradient,) = torch.autograd.grad(total(parts), logits)
        taught = gfl_loss(logits, POINTS, STRIDES, [Targets(BOXES[:1], LABELS[:1])])
        (other,) = torch.autograd.grad(total(taught), logits)
        silent = (gradient.abs().sum(dim=-1) == 0) & (other.abs().sum(dim=-1) > 0)
        assert silent.any(), "its points are neither objects nor background"

    def test_a_half_and_a_half_are_a_mean(self) -> None:
        logits = logits_of(2)
        halves = [Targets(one.boxes, one.labels, torch.full((2,), 0.5)) for one in (TWO, TWO)]
        assert gfl_loss(logits, POINTS, STRIDES, halves)["box"].item() == pytest.approx(
            gfl_loss(logits, POINTS, STRIDES, [TWO, TWO])["box"].item()
        )


@pytest.mark.parametrize("head", ["fcos", "ssdlite", "yolo"])
def test_heads_whose_loss_is_fixed_refuse_settings_of_it(head: str) -> None:
    require_loss_of(head, LossConfig())
    require_loss_of("gfl", LossConfig(box="ciou"))
    with pytest.raises(EdgedetError, match=r"has no settings: loss.assigner, loss.box") as caught:
        require_loss_of(head, LossConfig(box="ciou", assigner="dynamic"))
    assert caught.value.fix is not None and "network.head=gfl" in caught.value.fix
