from __future__ import annotations

import math

import pytest
import torch
from assigner_scenes import max_iou_of_image
from small_detector import small_head
from torch import Tensor

from edgedet.losses.ssd import ssd_loss
from edgedet.losses.targets import Targets
from edgedet.models.heads.ssdlite import anchor_sizes

CLASSES = 2
HEAD = small_head("ssdlite", CLASSES)
POINTS, STRIDES = HEAD.points(64, 64)
SIZES = anchor_sizes(STRIDES)
ANCHORS = torch.cat([POINTS - SIZES / 2, POINTS + SIZES / 2], dim=1)
OBJECTS = Targets(
    torch.tensor([[5.0, 5.0, 40.0, 50.0], [30.0, 20.0, 60.0, 60.0]]), torch.tensor([0, 1]), torch.tensor([1.0, 0.5])
)
NOTHING = Targets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))


def raw_of(batch: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, len(POINTS), CLASSES + 5, generator=generator, dtype=torch.float64)


def plain_loss(raw: Tensor, target: Targets) -> dict[str, float]:
    """The loss of an image anchor by anchor, from the paper's formulas; only the matching is the library's."""
    found = max_iou_of_image(ANCHORS, target.boxes, positive=0.5, negative=0.5)
    owner = dict(zip(found.points.tolist(), found.objects.tolist(), strict=True))
    confidence = boxes = positives = 0.0
    background = []
    for anchor in range(len(ANCHORS)):
        row = raw[0, anchor].tolist()
        normaliser = math.log(sum(math.exp(value) for value in row[: CLASSES + 1]))
        if anchor not in owner:
            background.append(normaliser - row[CLASSES])
            continue
        share = float(target.shares[owner[anchor]])
        box = target.boxes[owner[anchor]].tolist()
        (x, y), (width, height) = POINTS[anchor].tolist(), SIZES[anchor].tolist()
        wanted = [
            ((box[0] + box[2]) / 2 - x) / width / 0.1,
            ((box[1] + box[3]) / 2 - y) / height / 0.1,
            math.log((box[2] - box[0]) / width) / 0.2,
            math.log((box[3] - box[1]) / height) / 0.2,
        ]
        for value, target_value in zip(row[CLASSES + 1 :], wanted, strict=True):
            off = abs(value - target_value)
            boxes += share * (off**2 / 2 if off < 1 else off - 0.5)
        confidence += share * (normaliser - row[int(target.labels[owner[anchor]])])
        positives += share
    confidence += sum(sorted(background, reverse=True)[: 3 * len(owner)])
    return {"classification": confidence / positives, "box": boxes / positives}


def test_values_are_those_of_the_formulas() -> None:
    raw = raw_of(1)
    parts = {key: part.item() for key, part in ssd_loss(raw, POINTS, STRIDES, [OBJECTS], CLASSES).items()}
    assert parts == pytest.approx(plain_loss(raw, OBJECTS), rel=1e-5)  # type: ignore[arg-type]


def test_gradients_are_those_of_finite_differences() -> None:
    raw = raw_of(1).requires_grad_()

    def loss(raw: Tensor) -> Tensor:
        return torch.stack(list(ssd_loss(raw, POINTS, STRIDES, [OBJECTS], CLASSES).values()))

    assert torch.autograd.gradcheck(loss, (raw,), fast_mode=True)


def test_only_the_hardest_background_is_learned_from_per_image() -> None:
    raw = raw_of(2).requires_grad_()
    (gradient,) = torch.autograd.grad(
        ssd_loss(raw, POINTS, STRIDES, [OBJECTS, NOTHING], CLASSES)["classification"], raw
    )
    learned = (gradient != 0).any(dim=-1)
    positives = len(max_iou_of_image(ANCHORS, OBJECTS.boxes, positive=0.5, negative=0.5).points)
    assert learned[0].sum() == 4 * positives
    assert 0 < learned[1].sum() < 10


def test_anchors_that_are_right_cost_next_to_nothing() -> None:
    target = Targets(ANCHORS[[200, 420]], torch.tensor([0, 1]))
    raw = torch.zeros(1, len(POINTS), CLASSES + 5)
    raw[..., CLASSES] = 30.0
    match = max_iou_of_image(ANCHORS, target.boxes, positive=0.5, negative=0.5)
    raw[0, match.points, CLASSES] = 0.0
    raw[0, match.points, target.labels[match.objects]] = 30.0
    parts = ssd_loss(raw, POINTS, STRIDES, [target], CLASSES)
    assert parts["classification"].item() < 1e-6
    raw[0, match.points, target.labels[match.objects]] = -30.0
    assert ssd_loss(raw, POINTS, STRIDES, [target], CLASSES)["classification"].item() > 1
