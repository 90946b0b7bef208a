from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgedet.losses.box_losses import (
    BOX_LOSSES,
    ciou_loss,
    diou_loss,
    giou_loss,
    iou_loss,
    l1_loss,
    l2_loss,
    smooth_l1_loss,
)

COORDINATES = st.lists(st.floats(-50, 50, width=32), min_size=4, max_size=4)


def tensor(value: Any) -> Tensor:
    return torch.tensor(value, dtype=torch.float32)


def test_every_loss_by_name() -> None:
    names = ["l1", "l2", "smooth_l1", "iou", "giou", "diou", "ciou"]
    losses = [l1_loss, l2_loss, smooth_l1_loss, iou_loss, giou_loss, diou_loss, ciou_loss]
    assert list(BOX_LOSSES.items()) == list(zip(names, losses, strict=True))


# Boxes a and b: IoU, GIoU, DIoU and CIoU computed by hand.
@pytest.mark.parametrize(
    ("a", "b", "overlaps"),
    [
        ((0, 0, 10, 10), (5, 5, 15, 15), (0.142857, -0.079365, 0.031746, 0.031746)),
        ((0, 0, 10, 10), (0, 0, 20, 5), (0.333333, 0.083333, 0.270833, 0.252987)),
        ((0, 0, 4, 16), (0, 0, 16, 4), (0.142857, -0.419643, 0.002232, -0.166235)),
        ((10, 10, 30, 50), (12, 8, 36, 44), (0.581749, 0.545119, 0.568634, 0.568542)),
    ],
)
def test_losses_of_overlaps_computed_by_hand(a: Any, b: Any, overlaps: Any) -> None:
    iou, *others = overlaps
    assert iou_loss(tensor(a), tensor(b)).item() == pytest.approx(-math.log(iou), abs=1e-5)
    for name, overlap in zip(("giou", "diou", "ciou"), others, strict=True):
        assert BOX_LOSSES[name](tensor(a), tensor(b)).item() == pytest.approx(1 - overlap, abs=1e-6)


def test_torchvisions_losses(oracles: Path) -> None:
    vectors = json.loads((oracles / "box_vectors.json").read_text())["torchvision"]
    for key, names in (("giou_loss", ["giou"]), ("diou_loss=ciou_loss", ["diou", "ciou"])):
        assert vectors[key]
        for pair, expected in vectors[key].items():
            a, b = (tensor(vectors["loss_boxes"][f"box{number}"]) for number in pair.split("-"))
            for name in names:
                assert BOX_LOSSES[name](a, b).item() == pytest.approx(expected, abs=5e-5)


def test_losses_of_coordinates() -> None:
    a, b = tensor([0, 0, 10, 10]), tensor([0.5, -0.25, 12, 10])
    assert l1_loss(a, b).item() == pytest.approx(0.5 + 0.25 + 2)
    assert l2_loss(a, b).item() == pytest.approx(0.25 + 0.0625 + 4)
    assert smooth_l1_loss(a, b).item() == pytest.approx(0.125 + 0.03125 + 1.5)
    assert smooth_l1_loss(a, b, beta=0.5).item() == pytest.approx(0.25 + 0.0625 + 1.75)


@given(COORDINATES, COORDINATES)
@settings(max_examples=40)
def test_smooth_l1_lies_under_l1_and_is_half_of_l2_near_the_object(a: list[float], b: list[float]) -> None:
    first, second = tensor(a), tensor(b)
    assert l1_loss(first, second).item() - 2 <= smooth_l1_loss(first, second).item() + 1e-4
    assert smooth_l1_loss(first, second).item() <= l1_loss(first, second).item() + 1e-4
    near = first + (second - first).clamp(-1, 1)
    assert smooth_l1_loss(near, first).item() == pytest.approx(l2_loss(near, first).item() / 2, abs=1e-4)


@pytest.mark.parametrize("name", BOX_LOSSES)
def test_the_object_itself_costs_nothing_and_any_other_box_something(name: str) -> None:
    box = tensor([3, 4, 13, 9])
    assert BOX_LOSSES[name](box, box).item() == pytest.approx(0, abs=1e-6)
    for side in range(4):
        for shift in (-0.5, 0.5):
            other = box.clone()
            other[side] += shift
            assert BOX_LOSSES[name](other, box).item() > 1e-3


@pytest.mark.parametrize("name", BOX_LOSSES)
def test_one_number_for_each_pair(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    boxes = torch.rand(3, 5, 4, generator=generator)
    boxes[..., 2:] += boxes[..., :2]
    objects = boxes.flip(0)
    losses = BOX_LOSSES[name](boxes, objects)
    assert losses.shape == (3, 5)
    torch.testing.assert_close(losses[2, 1], BOX_LOSSES[name](boxes[2, 1], objects[2, 1]))
    assert BOX_LOSSES[name](boxes[:0], objects[:0]).shape == (0, 5)


# CIoU's own test is in test_overlap: finite differences see the weight of its aspect ratio change.
@pytest.mark.parametrize("name", [name for name in BOX_LOSSES if name != "ciou"])
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    boxes = torch.rand(6, 4, generator=generator, dtype=torch.float64) * 3
    boxes[:, 2:] += boxes[:, :2] + 0.5
    objects = boxes + torch.rand(6, 4, generator=generator, dtype=torch.float64) * 0.4
    assert torch.autograd.gradcheck(BOX_LOSSES[name], (boxes.requires_grad_(), objects))


@pytest.mark.parametrize("name", BOX_LOSSES)
@pytest.mark.parametrize(
    "box",
    [(5, 5, 5, 5), (0, 5, 10, 5), (9, 9, 1, 1), (0, 0, 10, 10), (10, 0, 20, 10), (800, 900, 810, 910)],
    ids=["point", "line", "inverted", "identical", "touching", "far apart"],
)
def test_no_box_gives_a_loss_or_gradient_that_is_not_finite(name: str, box: Any) -> None:
    predicted = tensor(box).requires_grad_()
    loss = BOX_LOSSES[name](predicted, tensor([0, 0, 10, 10]))
    loss.backward()
    assert loss.isfinite()
    assert predicted.grad is not None and predicted.grad.isfinite().all()


@pytest.mark.parametrize("name", BOX_LOSSES)
def test_descent_finds_the_object(name: str) -> None:
    box, wanted = tensor([2, 3, 8, 12]).requires_grad_(), tensor([1, 1, 9, 9])
    for step in torch.linspace(0.1, 0.0, 80):
        (gradient,) = torch.autograd.grad(BOX_LOSSES[name](box, wanted), box)
        box = (box - step * gradient.sign()).detach().requires_grad_()
    assert (box - wanted).abs().max() < 0.1


def test_boxes_that_do_not_meet_have_the_largest_iou_loss() -> None:
    apart = iou_loss(tensor([0, 0, 1, 1]), tensor([5, 5, 6, 6])).item()
    assert apart == pytest.approx(-math.log(1e-7), rel=1e-4)
    assert iou_loss(tensor([0, 0, 1, 1]), tensor([0.99, 0.99, 2, 2])).item() < apart
