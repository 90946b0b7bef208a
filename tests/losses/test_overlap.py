from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgedet.losses.overlap import ciou, diou, giou, iog, iou

# Boxes a and b, IoU, GIoU, DIoU, CIoU: computed by hand.
PAIRS = [
    ((0, 0, 10, 10), (5, 5, 15, 15), 0.142857, -0.079365, 0.031746, 0.031746),
    ((0, 0, 10, 10), (0, 0, 20, 5), 0.333333, 0.083333, 0.270833, 0.252987),
    ((0, 0, 4, 16), (0, 0, 16, 4), 0.142857, -0.419643, 0.002232, -0.166235),
    ((0, 0, 2, 2), (4, 4, 6, 6), 0.0, -0.777778, -0.444444, -0.444444),
    ((10, 10, 30, 50), (12, 8, 36, 44), 0.581749, 0.545119, 0.568634, 0.568542),
]
SIDE = 12
BOX = st.tuples(*(st.integers(0, SIDE) for _ in range(4))).map(
    lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3]))
)


@pytest.fixture(scope="module")
def vectors(oracles: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((oracles / "box_vectors.json").read_text())
    return content


def tensor(value: Any) -> Tensor:
    return torch.tensor(value, dtype=torch.float32)


def drawn(box: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def test_torchmetrics_answers(vectors: dict[str, Any]) -> None:
    v = vectors["torchmetrics"]
    predicted, target = tensor(v["preds"])[:, None], tensor(v["target"])
    for overlap in (iou, giou, diou, ciou):
        torch.testing.assert_close(overlap(predicted, target), tensor(v[overlap.__name__]), rtol=0, atol=1e-4)


def test_torchvisions_answers(vectors: dict[str, Any]) -> None:
    v = vectors["torchvision"]
    first, second = tensor(v["boxes1"])[:, None], tensor(v["boxes2"])
    for overlap in (iou, giou, diou, ciou):
        torch.testing.assert_close(overlap(first, second), tensor(v[overlap.__name__]), rtol=0, atol=1e-4)


def test_mmdetections_answers(vectors: dict[str, Any]) -> None:
    v = vectors["mmdet_giou_aligned"]
    torch.testing.assert_close(giou(tensor(v["b1"]), tensor(v["b2"])), tensor(v["giou"]), rtol=0, atol=1e-4)


@pytest.mark.parametrize("pair", PAIRS)
def test_pairs_computed_by_hand(pair: Any) -> None:
    a, b, *answers = pair
    for overlap, expected in zip((iou, giou, diou, ciou), answers, strict=True):
        for first, second in ((a, b), (b, a)):
            assert overlap(tensor(first), tensor(second)).item() == pytest.approx(expected, abs=1e-6)
        assert overlap(tensor(a), tensor(a)).item() == pytest.approx(1)


@given(st.lists(BOX, min_size=1, max_size=4), st.lists(BOX, min_size=1, max_size=4))
@settings(max_examples=60)
def test_is_the_share_of_drawn_pixels(first: list[Any], second: list[Any]) -> None:
    found = iou(tensor(first)[:, None], tensor(second))
    found_generalized = giou(tensor(first)[:, None], tensor(second))
    found_of_object = iog(tensor(first)[:, None], tensor(second))
    for row, a in enumerate(first):
        for column, b in enumerate(second):
            both, either = (drawn(a) & drawn(b)).sum(), (drawn(a) | drawn(b)).sum()
            assert found_of_object[row, column].item() == pytest.approx(both / max(drawn(b).sum(), 1), abs=1e-6)
            corners = np.array([a, b])
            hull = np.prod(corners[:, 2:].max(axis=0) - corners[:, :2].min(axis=0))
            expected = both / either if either else 0.0
            assert found[row, column].item() == pytest.approx(expected, abs=1e-6)
            expected -= (hull - either) / hull if hull else 0.0
            assert found_generalized[row, column].item() == pytest.approx(expected, abs=1e-6)


@given(st.tuples(*(st.floats(-1e4, 1e4, width=32) for _ in range(8))))
@settings(max_examples=50)
def test_any_boxes_inverted_ones_too_stay_in_range(coordinates: tuple[float, ...]) -> None:
    a, b = tensor(coordinates[:4]), tensor(coordinates[4:])
    assert 0 <= iou(a, b).item() <= 1 + 1e-6
    assert -1 - 1e-6 <= giou(a, b).item() <= 1 + 1e-6
    assert -1 - 1e-6 <= diou(a, b).item() <= 1 + 1e-6
    assert -1.5 - 1e-6 <= ciou(a, b).item() <= diou(a, b).item()
    assert 0 <= iog(a, b).item() <= 1 + 1e-6
    for overlap in (iou, giou, diou, ciou):
        assert overlap(a, b) == overlap(b, a)


@pytest.mark.parametrize("overlap", [iou, giou, diou, ciou, iog])
@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((5, 5, 5, 5), (5, 5, 5, 5)),
        ((5, 5, 5, 5), (0, 0, 10, 10)),
        ((0, 0, 10, 0), (0, 0, 10, 0)),
        ((0, 0, 10, 10), (10, 0, 20, 10)),
        ((0, 0, 10, 10), (0, 0, 10, 10)),
        ((9, 9, 1, 1), (0, 0, 10, 10)),
        ((9, 9, 1, 1), (10, 9, 2, 1)),
        ((0, 0, 10, 10), (500, 700, 510, 710)),
        ((0, 0, 1e-6, 1e-6), (0, 0, 1e-6, 1e-6)),
        ((0, 0, 8192, 8192), (0, 0, 8192, 8192)),
    ],
    ids=[
        "points",
        "point inside",
        "lines",
        "touching",
        "identical",
        "inverted",
        "both inverted",
        "far apart",
        "tiny",
        "large",
    ],
)
def test_gradients_of_degenerate_boxes_are_finite(overlap: Any, a: Any, b: Any) -> None:
    first, second = tensor(a).requires_grad_(), tensor(b).requires_grad_()
    value = overlap(first, second)
    value.backward()
    assert value.isfinite()
    assert first.grad is not None and first.grad.isfinite().all()
    assert second.grad is not None and second.grad.isfinite().all()


def random_pairs() -> tuple[Tensor, Tensor]:
    """Twelve pairs of boxes with an area, in float64, that require gradients."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(12, 2, 2, 2, generator=generator, dtype=torch.float64) * 20
    boxes = torch.cat([corners.amin(dim=2), corners.amax(dim=2) + 0.5], dim=-1)
    return boxes[:, 0].clone().requires_grad_(), boxes[:, 1].clone().requires_grad_()


@pytest.mark.parametrize("overlap", [iou, giou, diou, iog])
def test_gradients_are_those_of_finite_differences(overlap: Any) -> None:
    assert torch.autograd.gradcheck(overlap, random_pairs())


def aspect_term(a: Tensor, b: Tensor) -> Tensor:
    angles = [torch.atan2(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]) for box in (a, b)]
    return 4 / math.pi**2 * (angles[0] - angles[1]) ** 2


def test_the_weight_of_the_aspect_ratio_is_a_constant_to_the_gradient() -> None:
    first, second = random_pairs()
    v = aspect_term(first, second).detach()
    alpha = v / (1 - iou(first, second).detach() + v)

    def with_constant_weight(a: Tensor, b: Tensor) -> Tensor:
        return diou(a, b) - alpha * aspect_term(a, b)

    torch.testing.assert_close(ciou(first, second), with_constant_weight(first, second), rtol=0, atol=1e-6)
    assert torch.autograd.gradcheck(with_constant_weight, (first, second))
    expected = torch.autograd.grad(with_constant_weight(first, second).sum(), (first, second))
    found = torch.autograd.grad(ciou(first, second).sum(), (first, second))
    for mine, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, wanted, rtol=0, atol=1e-6)


def test_the_aspect_ratio_counts_below_an_iou_of_a_half_too() -> None:
    wide = tensor((0, 0, 16, 4)).requires_grad_()
    (1 - ciou(wide, tensor((0, 0, 4, 16)))).backward()
    with_aspect = wide.grad
    wide.grad = None
    (1 - diou(wide, tensor((0, 0, 4, 16)))).backward()
    assert with_aspect is not None and wide.grad is not None
    assert with_aspect[2] > wide.grad[2], "the width is to shrink more"


def test_the_distance_is_the_same_in_any_unit_and_direction() -> None:
    a, b = tensor((0, 0, 2, 2)), tensor((4, 1, 8, 5))
    # Centres (1, 1) and (6, 3), the enclosing box 8 by 5.
    assert diou(a, b).item() == pytest.approx(-(5**2 + 2**2) / (8**2 + 5**2))
    assert diou(a * 100 + 7, b * 100 + 7).item() == pytest.approx(diou(a, b).item())
    assert diou(-a[[2, 3, 0, 1]], -b[[2, 3, 0, 1]]).item() == pytest.approx(diou(a, b).item())


def test_iog_asks_how_much_of_the_object_is_covered() -> None:
    small, large = tensor((2, 2, 4, 4)), tensor((0, 0, 10, 10))
    assert iog(large, small).item() == pytest.approx(1)
    assert iog(small, large).item() == pytest.approx(0.04)
    assert iog(tensor((3, 2, 9, 4)), small).item() == pytest.approx(0.5)


@pytest.mark.parametrize("overlap", [iou, giou, diou, ciou, iog])
def test_all_combinations_are_the_pairs(overlap: Any) -> None:
    first, second = random_pairs()
    every = overlap(first[:, None], second[:3])
    assert every.shape == (12, 3)
    for column in range(3):
        assert torch.equal(every[:, column], overlap(first, second[column].expand(12, 4)))
    assert overlap(first[:0], second[:0]).shape == (0,)


@pytest.mark.parametrize("overlap", [giou, diou, ciou])
def test_boxes_that_do_not_meet_are_still_drawn_together(overlap: Any) -> None:
    apart = tensor((0, 0, 10, 10)).requires_grad_()
    (1 - overlap(apart, tensor((30, 0, 40, 10)))).backward()
    assert apart.grad is not None
    assert apart.grad[2] < 0, "growing to the right must lower the loss"
