from __future__ import annotations

import math

import pytest
import torch
from assigner_scenes import assign_image
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgedet.losses.assigners.simota import simota
from edgedet.losses.targets import Targets
from edgedet.losses.yolo import product_logits, yolo_loss
from edgedet.models.heads.geometry import anchor_points
from edgedet.models.heads.yolo import decode

CLASSES = 2
POINTS, STRIDES = anchor_points(64, 64, (8, 16, 32, 64))
OBJECTS = Targets(
    torch.tensor([[5.0, 5.0, 40.0, 50.0], [30.0, 20.0, 60.0, 60.0]]), torch.tensor([0, 1]), torch.tensor([1.0, 0.5])
)
NOTHING = Targets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))


def raw_of(batch: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, len(POINTS), CLASSES + 5, generator=generator, dtype=torch.float64)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def cross_entropy(x: float, target: float) -> float:
    return -target * math.log(sigmoid(x)) - (1 - target) * math.log(1 - sigmoid(x))


def plain_loss(raw: Tensor, targets: list[Targets]) -> dict[str, float]:
    """The loss point by point; the assignment and the boxes are the library's."""
    objectness = classes = boxes = positives = 0.0
    class_logits, object_logits, predicted = decode(raw, POINTS, STRIDES, CLASSES)
    scores = (class_logits.sigmoid() * object_logits.sigmoid()).logit()
    for image, target in enumerate(targets):
        owner: dict[int, tuple[int, float]] = {}
        if len(target.boxes):
            found = assign_image(simota, scores[image], predicted[image], POINTS, STRIDES, target)
            owners = zip(found.objects.tolist(), found.ious.tolist(), strict=True)
            owner = dict(zip(found.points.tolist(), owners, strict=True))
        for point in range(len(POINTS)):
            row = raw[image, point].tolist()
            if point not in owner:
                objectness += cross_entropy(row[CLASSES], 0)
                continue
            item, overlap = owner[point]
            share = float(target.shares[item])
            objectness += share * cross_entropy(row[CLASSES], 1)
            for label in range(CLASSES):
                wanted = overlap if label == int(target.labels[item]) else 0.0
                classes += share * cross_entropy(row[label], wanted)
            boxes += share * (1 - plain_giou(predicted[image, point].tolist(), target.boxes[item].tolist()))
            positives += share
    parts = {"objectness": objectness, "classification": classes, "box": 5 * boxes}
    return {key: part / positives for key, part in parts.items()}


def plain_giou(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return shared / union - (hull - union) / hull


def test_values_are_those_of_the_formulas() -> None:
    raw, targets = raw_of(2), [OBJECTS, NOTHING]
    parts = {key: part.item() for key, part in yolo_loss(raw, POINTS, STRIDES, targets, CLASSES).items()}
    assert parts == pytest.approx(plain_loss(raw, targets), rel=1e-5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("columns", "keys"),
    [(slice(0, CLASSES + 1), ("classification", "objectness")), (slice(CLASSES + 1, None), ("box",))],
    ids=["scores", "boxes"],
)
def test_gradients_are_those_of_finite_differences(columns: slice, keys: tuple[str, ...]) -> None:
    """Apart, because the overlap that a class learns is a constant to the gradient."""
    raw = raw_of(1)

    def loss(part: Tensor) -> Tensor:
        whole = raw.clone()
        whole[..., columns] = part
        parts = yolo_loss(whole, POINTS, STRIDES, [OBJECTS], CLASSES)
        return torch.stack([parts[key] for key in keys])

    assert torch.autograd.gradcheck(loss, (raw[..., columns].clone().requires_grad_(),), fast_mode=True)


class TestProductLogits:
    @given(st.floats(-10, 10), st.floats(-10, 10))
    @settings(max_examples=50)
    def test_are_the_logits_of_the_product(self, first: float, second: float) -> None:
        found = product_logits(torch.tensor(first).double(), torch.tensor(second).double()).item()
        product = sigmoid(first) * sigmoid(second)
        assert found == pytest.approx(math.log(product / (1 - product)), abs=1e-6)

    def test_are_finite_where_probabilities_round_to_0_and_1(self) -> None:
        ends = torch.tensor([-200.0, 0.0, 200.0])
        found = product_logits(ends[:, None], ends)
        assert found.isfinite().all()
        assert found[0, 0] == pytest.approx(-400)
        assert found[2, 2] > 100
