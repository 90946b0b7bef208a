from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet.losses.negatives import hard_negatives, top_k_negatives

LOSS = torch.tensor([0.1, 5.0, 0.3, 0.9, 0.2, 7.0, 0.8])


def positives(*indices: int, of: int = len(LOSS)) -> torch.Tensor:
    mask = torch.zeros(of, dtype=torch.bool)
    mask[list(indices)] = True
    return mask


def chosen(mask: torch.Tensor) -> list[int]:
    assert mask.dtype == torch.bool
    return mask.nonzero().flatten().tolist()


class TestHardNegatives:
    def test_three_for_each_positive_by_their_loss(self) -> None:
        assert chosen(hard_negatives(LOSS, positives(5))) == [1, 3, 6]
        assert chosen(hard_negatives(LOSS, positives(1))) == [3, 5, 6]

    @pytest.mark.parametrize(
        ("ratio", "expected"), [(1.0, [1, 3]), (1.5, [1, 3, 6]), (1.9, [1, 3, 6]), (2.0, [1, 3, 4, 6])]
    )
    def test_the_ratio_is_rounded_down(self, ratio: float, expected: list[int]) -> None:
        assert chosen(hard_negatives(LOSS, positives(2, 5), ratio=ratio, minimum=0)) == expected

    def test_an_image_without_positives_gives_the_minimum(self) -> None:
        assert chosen(hard_negatives(LOSS, positives())) == [1, 3, 5]
        assert chosen(hard_negatives(LOSS, positives(), minimum=2)) == [1, 5]
        assert chosen(hard_negatives(LOSS, positives(), minimum=0)) == []

    def test_the_minimum_holds_with_few_positives_too(self) -> None:
        assert chosen(hard_negatives(LOSS, positives(5), ratio=1.0, minimum=2)) == [1, 3]

    def test_no_more_than_there_are(self) -> None:
        assert chosen(hard_negatives(LOSS, positives(0, 1, 2, 3))) == [4, 5, 6]
        assert chosen(hard_negatives(LOSS, positives(*range(7)))) == []
        assert hard_negatives(LOSS[:0], positives(of=0)).shape == (0,)

    def test_no_gradient_flows_through_the_choice(self) -> None:
        loss = LOSS.clone().requires_grad_()
        (loss * hard_negatives(loss, positives(5))).sum().backward()
        assert loss.grad is not None
        assert loss.grad.tolist() == [0, 1, 0, 1, 0, 0, 1]


class TestTopKNegatives:
    def test_the_highest_losses_of_the_negatives(self) -> None:
        assert chosen(top_k_negatives(LOSS, positives(5), 2)) == [1, 3]
        assert chosen(top_k_negatives(LOSS, positives(5), 0)) == []
        assert chosen(top_k_negatives(LOSS, positives(5), 100)) == [0, 1, 2, 3, 4, 6]

    def test_of_equal_losses_the_first(self) -> None:
        equal = torch.full((200,), 0.7)
        assert chosen(top_k_negatives(equal, positives(1, of=200), 3)) == [0, 2, 3]

    @given(st.lists(st.tuples(st.floats(0, 100, width=32), st.booleans()), max_size=40), st.integers(0, 45))
    @settings(max_examples=60)
    def test_no_negative_left_out_costs_more_than_one_taken(self, points: list[tuple[float, bool]], k: int) -> None:
        loss = torch.tensor([point[0] for point in points], dtype=torch.float32)
        positive = torch.tensor([point[1] for point in points], dtype=torch.bool)
        taken = top_k_negatives(loss, positive, k)
        assert not (taken & positive).any()
        assert taken.sum() == min(k, int((~positive).sum()))
        left_out = loss[~taken & ~positive]
        if taken.any() and len(left_out):
            assert loss[taken].min() >= left_out.max()
