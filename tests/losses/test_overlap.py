from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgedet.losses.overlap import giou, iou

# Boxes a and b, IoU, GIoU: computed by hand.
PAIRS = [
    ((0, 0, 10, 10), (5, 5, 15, 15), 0.142857, -0.079365),
    ((0, 0, 10, 10), (0, 0, 20, 5), 0.333333, 0.083333),
    ((0, 0, 4, 16), (0, 0, 16, 4), 0.142857, -0.419643),
    ((0, 0, 2, 2), (4, 4, 6, 6), 0.0, -0.777778),
    ((10, 10, 30, 50), (12, 8, 36, 44), 0.581749, 0.545119),
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
    torch.testing.assert_close(iou(predicted, target), tensor(v["iou"]), rtol=0, atol=1e-4)
    torch.testing.assert_close(giou(predicted, target), tensor(v["giou"]), rtol=0, atol=1e-4)


def test_torchvisions_answers(vectors: dict[str, Any]) -> None:
    v = vectors["torchvision"]
    first, second = tensor(v["boxes1"])[:, None], tensor(v["boxes2"])
    torch.testing.assert_close(iou(first, second), tensor(v["iou"]), rtol=0, atol=1e-4)
    torch.testing.assert_close(giou(first, second), tensor(v["giou"]), rtol=0, atol=1e-4)
    for pair, loss in v["giou_loss"].items():
        a, b = (tensor(v["loss_boxes"][f"box{number}"]) for number in pair.split("-"))
        assert 1 - giou(a, b).item() == pytest.approx(loss, abs=1e-6)


def test_mmdetections_answers(vectors: dict[str, Any]) -> None:
    v = vectors["mmdet_giou_aligned"]
    torch.testing.assert_close(giou(tensor(v["b1"]), tensor(v["b2"])), tensor(v["giou"]), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("a", "b", "expected_iou", "expected_giou"), PAIRS)
def test_pairs_computed_by_hand(a: Any, b: Any, expected_iou: float, expected_giou: float) -> None:
    for first, second in ((a, b), (b, a)):
        assert iou(tensor(first), tensor(second)).item() == pytest.approx(expected_iou, abs=1e-6)
        assert giou(tensor(first), tensor(second)).item() == pytest.approx(expected_giou, abs=1e-6)
    assert iou(tensor(a), tensor(a)).item() == pytest.approx(1)
    assert giou(tensor(a), tensor(a)).item() == pytest.approx(1)


@given(st.lists(BOX, min_size=1, max_size=4), st.lists(BOX, min_size=1, max_size=4))
@settings(max_examples=60)
def test_is_the_share_of_drawn_pixels(first: list[Any], second: list[Any]) -> None:
    found = iou(tensor(first)[:, None], tensor(second))
    found_generalized = giou(tensor(first)[:, None], tensor(second))
    for row, a in enumerate(first):
        for column, b in enumerate(second):
            both, either = (drawn(a) & drawn(b)).sum(), (drawn(a) | drawn(b)).sum()
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
    assert iou(a, b) == iou(b, a)
    assert giou(a, b) == giou(b, a)


@pytest.mark.parametrize("overlap", [iou, giou])
@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((5, 5, 5, 5), (5, 5, 5, 5)),
        ((5, 5, 5, 5), (0, 0, 10, 10)),
        ((0, 0, 10, 0), (0, 0, 10, 0)),
        ((0, 0, 10, 10), (10, 0, 20, 10)),
        ((0, 0, 10, 10), (0, 0, 10, 10)),
        ((9, 9, 1, 1), (0, 0, 10, 10)),
        ((0, 0, 1e-6, 1e-6), (0, 0, 1e-6, 1e-6)),
        ((0, 0, 8192, 8192), (0, 0, 8192, 8192)),
    ],
    ids=["points", "point inside", "lines", "touching", "identical", "inverted", "tiny", "large"],
)
def test_gradients_of_degenerate_boxes_are_finite(overlap: Any, a: Any, b: Any) -> None:
    first, second = tensor(a).requires_grad_(), tensor(b).requires_grad_()
    value = overlap(first, second)
    value.backward()
    assert value.isfinite()
    assert first.grad is not None and first.grad.isfinite().all()
    assert second.grad is not None and second.grad.isfinite().all()


@pytest.mark.parametrize("overlap", [iou, giou])
def test_gradients_are_those_of_finite_differences(overlap: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(12, 2, 2, 2, generator=generator, dtype=torch.float64) * 20
    boxes = torch.cat([corners.amin(dim=2), corners.amax(dim=2) + 0.5], dim=-1)
    first, second = boxes[:, 0].clone().requires_grad_(), boxes[:, 1].clone().requires_grad_()
    assert torch.autograd.gradcheck(overlap, (first, second))


def test_boxes_that_do_not_meet_are_still_drawn_together() -> None:
    apart = tensor((0, 0, 10, 10)).requires_grad_()
    (1 - giou(apart, tensor((30, 0, 40, 10)))).backward()
    assert apart.grad is not None
    assert apart.grad[2] < 0, "growing to the right must lower the loss"
