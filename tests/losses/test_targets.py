from __future__ import annotations

import pytest
import torch

from edgedet.losses.targets import Targets, joined, moved

TWO = Targets(
    torch.tensor([[0.0, 0.0, 4.0, 4.0], [1.0, 2.0, 3.0, 4.0]]), torch.tensor([2, 0]), torch.tensor([0.25, 0.75])
)
NONE = Targets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
ONE = Targets(torch.tensor([[5.0, 5.0, 9.0, 9.0]]), torch.tensor([1]))


def test_objects_are_joined_image_after_image() -> None:
    objects = joined([NONE, TWO, NONE, ONE])
    assert torch.equal(objects.boxes, torch.cat([TWO.boxes, ONE.boxes]))
    assert objects.labels.tolist() == [2, 0, 1]
    assert objects.images.tolist() == [1, 1, 3]
    assert objects.shares.tolist() == [0.25, 0.75, 1.0]


def test_half_precision_has_too_few_digits_for_pixels() -> None:
    assert joined([Targets(ONE.boxes.half(), ONE.labels)]).boxes.dtype == torch.float32
    assert joined([Targets(ONE.boxes.double(), ONE.labels)]).boxes.dtype == torch.float64


@pytest.mark.parametrize("targets", [[TWO, NONE, ONE], [ONE, NONE], [NONE]])
def test_moving_changes_nothing(targets: list[Targets]) -> None:
    found = moved(targets, torch.device("cpu"))
    for before, after in zip(targets, found, strict=True):
        assert torch.equal(after.boxes, before.boxes)
        assert torch.equal(after.labels, before.labels)
        assert torch.equal(after.shares, before.shares)


def test_targets_arrive_on_the_device() -> None:
    found = moved([TWO, NONE], torch.device("meta"))
    assert {tensor.device.type for target in found for tensor in (target.boxes, target.labels, target.shares)} == {
        "meta"
    }
