from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edgedet.models.dropblock import DropBlock
from edgedet.train.dropping import prepare_dropblocks
from edgedet.train.plan import BatchPlan

PLAN = BatchPlan(samples=8, batch=4, epochs=5, seed=3, imgsz=64)
ONES = torch.ones(2, 3, 16, 16)


def dropped(plan: BatchPlan, step: int) -> Tensor:
    network = nn.Sequential(nn.Identity(), DropBlock(3, 0.3)).train()
    prepare_dropblocks(network, plan, step)
    found: Tensor = network(ONES)
    return found


def test_a_step_drops_the_same_whatever_came_before() -> None:
    first = dropped(PLAN, 7)
    torch.rand(5)
    assert torch.equal(first, dropped(PLAN, 7))


@pytest.mark.parametrize(
    "other",
    [(PLAN, 8), (BatchPlan(8, 4, 5, 4, 64), 7), (BatchPlan(8, 4, 5, 3, 64, rank=1, world_size=2), 7)],
    ids=["another step", "another seed", "another process"],
)
def test_others_drop_others(other: tuple[BatchPlan, int]) -> None:
    assert not torch.equal(dropped(PLAN, 7) == 0, dropped(*other) == 0)


def test_it_drops_more_and_more() -> None:
    assert torch.equal(dropped(PLAN, 0), ONES)
    shares = [(dropped(PLAN, step) == 0).float().mean().item() for step in (1, 5, 9)]
    assert 0 < shares[0] < shares[1] < shares[2] < 0.45


def test_without_dropblock_nothing_is_seeded() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    prepare_dropblocks(nn.Identity(), PLAN, 3)
    assert torch.equal(torch.random.get_rng_state(), before)
