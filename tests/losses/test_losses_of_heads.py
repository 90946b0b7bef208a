"""What holds of the losses of all heads but GFL's."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from small_detector import CHANNELS, small_head
from torch import Tensor

from edgedet.losses.fcos import fcos_loss
from edgedet.losses.overlap import iou
from edgedet.losses.ssd import ssd_loss
from edgedet.losses.targets import Targets
from edgedet.losses.yolo import yolo_loss
from edgedet.models.blocks import ConvNormAct

Loss = Callable[..., dict[str, Tensor]]

LOSSES: dict[str, Loss] = {"fcos": fcos_loss, "ssdlite": ssd_loss, "yolo": yolo_loss}
SIZE, CLASSES, STEPS = 64, 2, 30


@pytest.fixture(params=list(LOSSES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def targets_of(*boxes: tuple[float, ...], labels: tuple[int, ...] | None = None) -> Targets:
    label = torch.tensor(labels or (0,) * len(boxes), dtype=torch.long)
    return Targets(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), label)


NOTHING = targets_of()
TWO = targets_of((5, 5, 40, 50), (30, 20, 60, 60), labels=(0, 1))


def raw_of(name: str, batch: int, seed: int = 0) -> Tensor:
    head = small_head(name, CLASSES)
    rows = len(head.points(SIZE, SIZE)[0])
    return torch.randn(batch, rows, head.row_length, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def loss_of(
    name: str, raw: Tensor, targets: list[Targets], mean: Callable[[Tensor], Tensor] = lambda value: value
) -> dict[str, Tensor]:
    return LOSSES[name](raw, *small_head(name, CLASSES).points(SIZE, SIZE), targets, CLASSES, mean=mean)


def total(parts: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(parts.values())).sum()


def numbers(parts: dict[str, Tensor]) -> dict[str, float]:
    return {key: part.item() for key, part in parts.items()}


def gradient_of(raw: Tensor, loss: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(loss, raw)
    return gradient


def test_a_detector_learns_two_images_by_heart(name: str) -> None:
    images = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    targets = [targets_of((8, 8, 40, 48), labels=(1,)), targets_of((20, 26, 60, 58), labels=(0,))]
    head = small_head(name, CLASSES, strides=(16, 32))
    fine = ConvNormAct(3, CHANNELS, 17, "relu", stride=16)
    coarse = ConvNormAct(CHANNELS, CHANNELS, 3, "relu", stride=2)
    points, strides = head.points(SIZE, SIZE)
    optimizer = torch.optim.AdamW([*head.parameters(), *fine.parameters(), *coarse.parameters()], lr=2e-2)
    losses = []
    for _ in range(STEPS):
        maps = fine(images)
        raw = head([maps, coarse(maps)])
        parts = LOSSES[name](raw, points, strides, targets, CLASSES)
        optimizer.zero_grad()
        total(parts).backward()
        optimizer.step()
        losses.append(numbers(parts))
    # The cross entropy of centreness with itself is not 0, so that part has a floor.
    assert all(losses[-1][key] < 0.5 * losses[0][key] for key in losses[0] if key != "centreness"), losses[-1]
    boxes, scores = head.decode(raw, points, strides)
    for image, target in enumerate(targets):
        best = int(scores[image].amax(dim=1).argmax())
        assert scores[image, best].argmax() == target.labels[0]
        assert iou(boxes[image, best], target.boxes[0]) > 0.6


class TestDegenerate:
    @pytest.mark.parametrize(
        "targets",
        [[NOTHING, NOTHING], [targets_of((10, 10, 10, 10), (0, 20, 64, 20)), NOTHING]],
        ids=["no objects", "objects without area"],
    )
    def test_without_positives_boxes_learn_nothing_and_scores_only_fall(
        self, name: str, targets: list[Targets]
    ) -> None:
        raw = raw_of(name, 2)
        parts = loss_of(name, raw, targets)
        assert parts["box"].item() == 0
        gradient = gradient_of(raw, total(parts))
        assert (gradient[..., CLASSES + 1 :] == 0).all()
        head = small_head(name, CLASSES)
        points = head.points(SIZE, SIZE)
        with torch.no_grad():
            before = head.decode(raw, *points)[1].sum(dim=-1)
            after = head.decode(raw - 0.1 * gradient, *points)[1].sum(dim=-1)
        assert (after <= before + 1e-6).all()
        assert (after < before - 1e-4).any()

    @pytest.mark.parametrize(
        "target",
        [
            targets_of((8, 8, 56, 56), (8, 8, 56, 56), labels=(0, 1)),
            targets_of(*[(8, 8, 56, 56)] * 60),
            targets_of((-1000, -1000, 2000, 2000)),
            targets_of((20, 20, 20.01, 20.01), (19.99, 19.99, 20.01, 20.01)),
            targets_of((3, 4, 4.5, 4.5), (0, 0, 64, 64)),
            targets_of((100, 100, 200, 200)),
        ],
        ids=["two classes, one box", "sixty times one box", "beyond the image", "specks", "speck and all", "outside"],
    )
    @pytest.mark.parametrize("scale", [0.0, 1.0, 60.0])
    def test_values_and_gradients_stay_finite(self, name: str, target: Targets, scale: float) -> None:
        raw = (raw_of(name, 1).detach() * scale).requires_grad_()
        parts = loss_of(name, raw, [target])
        assert all(math.isfinite(part) and part >= 0 for part in numbers(parts).values())
        assert gradient_of(raw, total(parts)).isfinite().all()

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_a_broken_prediction_makes_the_loss_say_so(self, name: str, bad: float) -> None:
        raw = raw_of(name, 1).detach()
        raw[0, 3, :] = bad
        assert not total(loss_of(name, raw, [TWO])).isfinite()


def test_half_precision_is_computed_in_single(name: str) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        half = raw_of(name, 2).detach().to(dtype).requires_grad_()
        parts = loss_of(name, half, [TWO, NOTHING])
        assert all(part.dtype == torch.float32 for part in parts.values())
        assert numbers(parts) == numbers(loss_of(name, half.detach().float(), [TWO, NOTHING]))
        assert gradient_of(half, total(parts)).isfinite().all()


def test_objects_of_half_the_weight_count_half(name: str) -> None:
    """Means over the positive rows stay when all of them weigh less; what background costs grows beside them."""
    raw = raw_of(name, 1).detach()
    whole = loss_of(name, raw, [TWO])
    ones, halves, zeros = (
        loss_of(name, raw, [Targets(TWO.boxes, TWO.labels, torch.full((2,), weight))]) for weight in (1.0, 0.5, 0.0)
    )
    assert numbers(ones) == numbers(whole)
    assert halves["box"].item() == pytest.approx(whole["box"].item(), rel=1e-5)
    background = "objectness" if name == "yolo" else "classification"
    assert halves[background] > whole[background]
    assert zeros["box"].item() == 0


@pytest.mark.parametrize("shares", [(slice(0, 1), slice(1, 4)), (slice(0, 3), slice(3, 4))])
def test_processes_that_share_a_batch_get_the_loss_and_gradient_of_the_whole_on_average(
    name: str, shares: tuple[slice, slice]
) -> None:
    raw, targets = raw_of(name, 4), [NOTHING, TWO, TWO, targets_of((8, 8, 24, 24))]
    whole = loss_of(name, raw, targets)
    told: list[Tensor] = []

    def tell(value: Tensor) -> Tensor:
        told.append(value)
        return value

    for share in shares:
        loss_of(name, raw[share], targets[share], mean=tell)
    assert len(told) == len(shares), "as many collective calls as processes, or they wait for each other forever"
    mean = torch.stack(told).mean(dim=0)
    losses = [loss_of(name, raw[share], targets[share], mean=lambda _: mean) for share in shares]
    for key, part in whole.items():
        assert sum(loss[key].item() for loss in losses) / len(shares) == pytest.approx(part.item(), rel=1e-5)
    gradient = gradient_of(raw, torch.stack([total(loss) for loss in losses]).mean())
    torch.testing.assert_close(gradient, gradient_of(raw, total(whole)), rtol=1e-4, atol=1e-7)
