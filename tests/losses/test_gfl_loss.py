from __future__ import annotations

import math
from typing import Any, Literal

import pytest
import torch
from assigner_scenes import assign_image
from torch import Tensor

from edgedet.losses.assigners import ASSIGNERS
from edgedet.losses.config import DEFAULT, LossConfig
from edgedet.losses.detection import total
from edgedet.losses.gfl import gfl_loss
from edgedet.losses.targets import Targets
from edgedet.models.heads.geometry import anchor_points

BINS = 8
SIZE = 64
POINTS, STRIDES = anchor_points(SIZE, SIZE, (8, 16, 32, 64))


def logits_of(batch: int, classes: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, len(POINTS), classes + 4 * BINS, generator=generator).requires_grad_()


def targets_of(*boxes: tuple[float, ...], labels: tuple[int, ...] | None = None) -> Targets:
    label = torch.tensor(labels or (0,) * len(boxes), dtype=torch.long)
    return Targets(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), label)


NOTHING = targets_of()
TWO = targets_of((5, 5, 40, 50), (30, 20, 60, 60), labels=(0, 1))


def parts(loss: dict[str, Tensor]) -> list[float]:
    return [part.item() for part in loss.values()]


def gradient_of(logits: Tensor, loss: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(loss, logits)
    return gradient


class PlainLoss:
    """The loss point by point in double precision, from the papers' formulas; only the assignment is the library's."""

    def __init__(self, logits: Tensor, targets: list[Targets], assigner: str) -> None:
        self.x = logits.detach().double().requires_grad_()
        scores, bins = self.x[..., : -4 * BINS], self.x[..., -4 * BINS :].reshape(len(targets), -1, 4, BINS)
        distances = (bins.softmax(-1) * torch.arange(BINS)).sum(-1) * STRIDES[:, None]
        boxes = POINTS.repeat(1, 2) + distances * torch.tensor([-1, -1, 1, 1])
        wanted = torch.zeros_like(scores)
        weights, overlaps, sides = [], [], []
        for image, target in enumerate(targets):
            outputs = scores[image].detach().float(), boxes[image].detach().float()
            found = assign_image(ASSIGNERS[assigner], *outputs, POINTS, STRIDES, target)
            rows = zip(found.points.tolist(), found.objects.tolist(), found.weights.tolist(), strict=True)
            for point, item, share in rows:
                wanted[image, point, target.labels[item]] = share
                box = target.boxes[item].double().tolist()
                weights.append(scores[image, point].detach().sigmoid().max())
                overlaps.append(plain_giou(boxes[image, point], box))
                sides.append(plain_distribution(bins[image, point], point, box))
        p = scores.sigmoid()
        quality = (wanted - p) ** 2 * -(wanted * p.log() + (1 - wanted) * (1 - p).log())
        weight = torch.stack(weights)
        self.quality = 1.0 * quality.sum() / len(weights)
        self.giou = 2.0 * (weight * (1 - torch.stack(overlaps))).sum() / weight.sum()
        self.distribution = 0.25 * (weight * torch.stack(sides)).sum() / weight.sum()

    @property
    def total(self) -> Tensor:
        return self.quality + self.giou + self.distribution


def plain_giou(a: Tensor, b: list[float]) -> Tensor:
    width, height = torch.clamp(a[2], max=b[2]) - a[0].clamp(b[0]), torch.clamp(a[3], max=b[3]) - a[1].clamp(b[1])
    shared = width.clamp(0) * height.clamp(0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    hull = (a[2].clamp(b[2]) - a[0].clamp(max=b[0])) * (a[3].clamp(b[3]) - a[1].clamp(max=b[1]))
    return shared / union - (hull - union) / hull


def plain_distribution(bins: Tensor, point: int, box: list[float]) -> Tensor:
    """The mean over the four sides."""
    x, y = POINTS[point].tolist()
    total = torch.zeros((), dtype=torch.float64)
    for side, distance in enumerate((x - box[0], y - box[1], box[2] - x, box[3] - y)):
        target = min(max(distance / STRIDES[point].item(), 0), BINS - 1.01)
        lower = math.floor(target)
        log_p = bins[side].log_softmax(0)
        total = total - (lower + 1 - target) * log_p[lower] - (target - lower) * log_p[lower + 1]
    return total / 4


@pytest.mark.parametrize("assigner", ["tal", "dynamic"])
@pytest.mark.parametrize(
    ("classes", "targets"),
    [
        (2, [TWO, NOTHING, targets_of((0, 0, 64, 64), (8, 8, 24, 24), (-20, 30, 20, 90), labels=(1, 0, 1))]),
        (1, [targets_of((5, 5, 40, 50))]),
    ],
    ids=["three images, one empty", "one class"],
)
def test_values_and_gradients_are_those_of_the_formulas(
    classes: int, targets: list[Targets], assigner: Literal["tal", "dynamic"]
) -> None:
    logits = logits_of(len(targets), classes)
    loss = gfl_loss(logits, POINTS, STRIDES, targets, LossConfig(assigner=assigner))
    expected = PlainLoss(logits, targets, assigner)
    assert parts(loss) == pytest.approx(
        [expected.quality.item(), expected.giou.item(), expected.distribution.item()], rel=1e-4
    )
    gradient = gradient_of(logits, total(loss))
    torch.testing.assert_close(gradient.double(), gradient_of(expected.x, expected.total), rtol=1e-3, atol=1e-6)


def test_predictions_that_are_right_cost_next_to_nothing() -> None:
    box = (8.0, 16.0, 40.0, 48.0)
    logits = torch.full((1, len(POINTS), 1 + 4 * BINS), -20.0)
    logits[..., 0] = -6.0
    right_boxes = torch.zeros(len(POINTS), 4)
    for point, (x, y) in enumerate(POINTS.tolist()):
        distances = [side / STRIDES[point].item() for side in (x - box[0], y - box[1], box[2] - x, box[3] - y)]
        if min(distances) > 0 and max(distances) < BINS - 1:
            right_boxes[point] = torch.tensor(box)
            for side, distance in enumerate(distances):
                first = 1 + side * BINS + int(distance)
                logits[0, point, first : first + 2] = torch.tensor([1 - distance % 1, distance % 1]).clamp(1e-9).log()
    target = targets_of(box)
    found = assign_image(ASSIGNERS[DEFAULT.assigner], logits[0, :, :1], right_boxes, POINTS, STRIDES, target)
    logits[0, found.points, 0] = 12.0
    right = gfl_loss(logits, POINTS, STRIDES, [target])
    assert len(found.points) in (12, 13)
    assert right["box"].item() < 1e-4
    assert right["classification"].item() < 1e-4
    wrong = gfl_loss(logits, POINTS, STRIDES, [targets_of((20.0, 28.0, 52.0, 60.0))])
    assert wrong["box"].item() > 0.5
    assert wrong["classification"].item() > 0.5
    assert wrong["distribution"].item() > right["distribution"].item()


class TestDegenerate:
    @pytest.mark.parametrize(
        "targets",
        [
            [NOTHING, NOTHING],
            [targets_of((10, 10, 10, 10), (0, 20, 64, 20)), NOTHING],
            [targets_of((100, 100, 200, 200)), targets_of((-50, -50, -1, -1))],
        ],
        ids=["no objects", "objects without area", "objects outside"],
    )
    def test_without_positives_only_the_classes_learn_background(self, targets: list[Targets]) -> None:
        logits = logits_of(2, 3)
        loss = gfl_loss(logits, POINTS, STRIDES, targets)
        assert loss["box"].item() == loss["distribution"].item() == 0
        gradient = gradient_of(logits, total(loss))
        assert (gradient[..., :3] > 0).all(), "every score has to fall"
        assert (gradient[..., 3:] == 0).all()
        x = logits.detach().double()[..., :3]
        torch.testing.assert_close(loss["classification"].double(), (x.sigmoid() ** 2 * -(1 - x.sigmoid()).log()).sum())

    def test_an_image_without_objects_is_background_beside_one_with(self) -> None:
        logits = logits_of(2, 2)
        gradient = gradient_of(logits, total(gfl_loss(logits, POINTS, STRIDES, [TWO, NOTHING])))
        assert (gradient[1, :, :2] > 0).all()
        assert (gradient[1, :, 2:] == 0).all()
        assert (gradient[0, :, 2:] != 0).any()

    @pytest.mark.parametrize(
        "target",
        [
            targets_of((8, 8, 56, 56), (8, 8, 56, 56), labels=(0, 1)),
            targets_of(*[(8, 8, 56, 56)] * 60),
            targets_of((-1000, -1000, 2000, 2000)),
            targets_of((20, 20, 20.01, 20.01), (19.99, 19.99, 20.01, 20.01)),
            targets_of((3, 4, 4.5, 4.5), (0, 0, 64, 64)),
            targets_of((0, 0, 64, 64)),
        ],
        ids=["two classes, one box", "sixty times one box", "far beyond the image", "specks", "speck and all", "all"],
    )
    @pytest.mark.parametrize("scale", [0.0, 1.0, 60.0])
    def test_values_and_gradients_stay_finite(self, target: Targets, scale: float) -> None:
        logits = (logits_of(1, 2).detach() * scale).requires_grad_()
        loss = gfl_loss(logits, POINTS, STRIDES, [target])
        assert all(math.isfinite(part) and part >= 0 for part in parts(loss))
        assert gradient_of(logits, total(loss)).isfinite().all()

    def test_predictions_without_area_get_finite_gradients(self) -> None:
        logits = torch.zeros(1, len(POINTS), 2 + 4 * BINS)
        logits[..., 2::BINS] = 200.0
        logits.requires_grad_()
        loss = gfl_loss(logits, POINTS, STRIDES, [TWO])
        assert total(loss).isfinite()
        assert gradient_of(logits, total(loss)).isfinite().all()

    def test_scores_of_zero_at_every_positive_point(self) -> None:
        logits = logits_of(1, 2).detach()
        logits[..., :2] = -200.0
        logits.requires_grad_()
        loss = gfl_loss(logits, POINTS, STRIDES, [TWO])
        assert total(loss).isfinite()
        assert gradient_of(logits, total(loss)).isfinite().all()

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_a_broken_prediction_makes_the_loss_say_so(self, bad: float) -> None:
        logits = logits_of(1, 2).detach()
        logits[0, 3, :] = bad
        assert not total(gfl_loss(logits, POINTS, STRIDES, [TWO])).isfinite()


def test_half_precision_is_computed_in_single() -> None:
    logits = logits_of(2, 2)
    targets = [TWO, NOTHING]
    for dtype in (torch.float16, torch.bfloat16):
        half = logits.detach().to(dtype).requires_grad_()
        loss = gfl_loss(half, POINTS, STRIDES, targets)
        assert total(loss).dtype == torch.float32
        assert parts(loss) == parts(gfl_loss(half.detach().float(), POINTS, STRIDES, targets))
        assert gradient_of(half, total(loss)).isfinite().all()


def test_the_total_is_the_sum_of_the_parts_and_images_count_by_their_positives() -> None:
    logits = logits_of(2, 2)
    alone, doubled = logits[:1], torch.cat([logits[:1], logits[:1]])
    loss = gfl_loss(alone, POINTS, STRIDES, [TWO])
    assert total(loss).item() == pytest.approx(sum(parts(loss)))
    twice: Any = pytest.approx(parts(loss), rel=1e-5)
    assert parts(gfl_loss(doubled, POINTS, STRIDES, [TWO, TWO])) == twice


@pytest.mark.parametrize("shares", [(slice(0, 1), slice(1, 4)), (slice(0, 3), slice(3, 4))])
@pytest.mark.parametrize("config", [DEFAULT, LossConfig(repulsion_weight=0.5)], ids=["default", "repulsion"])
def test_processes_that_share_a_batch_get_the_loss_and_gradient_of_the_whole_on_average(
    shares: tuple[slice, slice], config: LossConfig
) -> None:
    logits, targets = logits_of(4, 2), [NOTHING, TWO, TWO, targets_of((8, 8, 24, 24))]
    whole = gfl_loss(logits, POINTS, STRIDES, targets, config)
    told: list[Tensor] = []

    def tell(value: Tensor) -> Tensor:
        told.append(value)
        return value

    for share in shares:
        gfl_loss(logits[share], POINTS, STRIDES, targets[share], config, mean=tell)
    assert len(told) == len(shares), "as many collective calls as processes, or they wait for each other forever"
    mean = torch.stack(told).mean(dim=0)
    losses = [gfl_loss(logits[share], POINTS, STRIDES, targets[share], config, mean=lambda _: mean) for share in shares]
    average = [sum(values) / len(shares) for values in zip(*map(parts, losses), strict=True)]
    assert average == pytest.approx(parts(whole), rel=1e-5)
    gradient = gradient_of(logits, torch.stack([total(loss) for loss in losses]).mean())
    torch.testing.assert_close(gradient, gradient_of(logits, total(whole)), rtol=1e-4, atol=1e-7)
