from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgedet.losses.focal import distribution_focal_loss
from edgedet.models.heads.geometry import anchor_points, boxes_from_distances
from edgedet.models.heads.gfl import BINS, REG_MAX, GFLHead, decode, expected_distances

STRIDES = (8, 16, 32, 64)


class TestAnchorPoints:
    def test_are_the_cells_centres_row_by_row_finest_level_first(self) -> None:
        points, strides = anchor_points(16, 24, (8, 16))
        expected = [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12], [8, 8], [24, 8]]
        assert points.tolist() == expected
        assert strides.tolist() == [8] * 6 + [16] * 2

    @pytest.mark.parametrize(("side", "count"), [(320, 2125), (416, 3598), (32, 22)])
    def test_count_of_a_square_input(self, side: int, count: int) -> None:
        points, strides = anchor_points(side, side, STRIDES)
        assert points.shape == (count, 2)
        assert strides.shape == (count,)
        assert points.dtype == strides.dtype == torch.float32

    @given(st.integers(1, 20), st.integers(1, 20))
    @settings(max_examples=25)
    def test_levels_cover_the_input_and_nothing_beyond_one_cell(self, rows: int, columns: int) -> None:
        height, width = 32 * rows, 32 * columns
        points, strides = anchor_points(height, width, STRIDES)
        for stride in STRIDES:
            level = points[strides == stride]
            assert len(level) == math.ceil(height / stride) * math.ceil(width / stride)
            assert len(set(map(tuple, level.tolist()))) == len(level)
            assert (level % stride == stride / 2).all()
            assert level[:, 0].max() < width + stride / 2
            assert level[:, 1].max() < height + stride / 2


class TestDecoding:
    def test_expected_distance_of_a_known_distribution(self) -> None:
        logits = torch.tensor([0.0, 1, 2, 3, 2, 1, 0, 0]).repeat(4)
        assert expected_distances(logits).tolist() == pytest.approx([3.092378] * 4, abs=1e-5)

    def test_sides_are_left_top_right_bottom(self) -> None:
        logits = torch.full((4, BINS), -50.0)
        for side, distance in enumerate((0, 2, 5, REG_MAX)):
            logits[side, distance] = 50.0
        assert expected_distances(logits.flatten()).tolist() == pytest.approx([0, 2, 5, 7])
        box = boxes_from_distances(torch.tensor([100.0, 50.0]), torch.tensor([1.0, 2.0, 3.0, 4.0]))
        assert box.tolist() == [99, 48, 103, 54]

    def test_a_box_by_hand(self) -> None:
        points, strides = anchor_points(64, 64, STRIDES)
        logits = torch.zeros(2, len(points), 3 + 4 * BINS)
        cell = 64 + 5  # stride 16, row 1, column 1: centre (24, 24)
        logits[1, cell, 1] = 2.0
        for side, distance in enumerate((1, 0, 2, 1)):
            logits[1, cell, 3 + side * BINS + distance] = 100.0
        boxes, scores = decode(logits, points, strides, 3)
        assert boxes.shape == (2, len(points), 4)
        assert scores.shape == (2, len(points), 3)
        assert boxes[1, cell].tolist() == pytest.approx([8, 24, 56, 40])
        assert scores[1, cell].tolist() == pytest.approx([0.5, 1 / (1 + math.exp(-2)), 0.5])
        assert boxes[0, 0].tolist() == pytest.approx([4 - 28, 4 - 28, 4 + 28, 4 + 28]), "3.5 strides where all is equal"

    @pytest.mark.parametrize("spread", [1.0, 30.0, 3000.0])
    def test_boxes_are_those_of_a_softmax_over_each_side(self, spread: float) -> None:
        """Whatever the logits are: far apart, the largest takes all; far from 0, nothing overflows."""
        points, strides = anchor_points(64, 96, STRIDES)
        generator = torch.Generator().manual_seed(0)
        logits = spread * torch.randn(3, len(points), 2 + 4 * BINS, generator=generator, dtype=torch.float64)
        logits += spread * torch.randn(3, len(points), 1, generator=generator, dtype=torch.float64)
        boxes, scores = decode(logits, points, strides, 2)
        expected = boxes_from_distances(points, expected_distances(logits[..., 2:]) * strides[:, None])
        assert boxes.shape == (3, len(points), 4)
        torch.testing.assert_close(boxes, expected, rtol=0, atol=1e-9)
        assert torch.equal(scores, logits[..., :2].sigmoid())

    @given(st.lists(st.floats(0, 6.9), min_size=4, max_size=4))
    @settings(max_examples=40)
    def test_the_distribution_that_the_loss_likes_best_decodes_to_the_target(self, distances: list[float]) -> None:
        target = torch.tensor(distances)
        bins = torch.arange(BINS)
        nearness = (1 - (target[:, None] - bins).abs()).clamp(min=0)
        logits = (nearness + 1e-9).log()
        torch.testing.assert_close(expected_distances(logits.flatten()), target, rtol=0, atol=1e-4)
        best = distribution_focal_loss(logits, target).sum()
        worse = distribution_focal_loss(logits + torch.linspace(0, 1, BINS), target).sum()
        assert best <= worse + 1e-4


class TestHead:
    def test_one_column_per_class_and_bin_one_row_per_cell(self) -> None:
        maps = [torch.rand(2, 6, side, side + 1) for side in (4, 2, 1)]
        logits = GFLHead(6, 3, (8, 16, 32), "relu")(maps)
        assert logits.shape == (2, 4 * 5 + 2 * 3 + 1 * 2, 3 + 32)

    def test_rows_are_in_the_order_of_the_anchor_points(self) -> None:
        strides = (8, 16, 32, 64)
        head = GFLHead(2, 1, strides, "relu")
        points, point_strides = anchor_points(96, 160, strides)
        maps = []
        for stride in strides:
            centres = points[point_strides == stride]
            maps.append(centres.T.reshape(1, 2, math.ceil(96 / stride), math.ceil(160 / stride)))
        for level in range(len(strides)):
            head.towers[level] = nn.Identity()
            output = head.outputs[level]
            assert isinstance(output, nn.Conv2d) and output.bias is not None
            nn.init.zeros_(output.weight)
            nn.init.constant_(output.bias, float(strides[level]))
            output.weight.data[0, 0] = 1  # the class logit is x
            output.weight.data[-1, 1] = 1  # the last bin of the bottom side is y
        logits = head(maps)[0]
        assert torch.equal(logits[:, 0], points[:, 0] + point_strides)
        assert torch.equal(logits[:, -1], points[:, 1] + point_strides)
        assert torch.equal(logits[:, 1], point_strides)

    @pytest.mark.parametrize("classes", [1, 80])
    def test_starts_with_every_score_near_the_prior_and_boxes_of_all_sizes(self, classes: int) -> None:
        torch.manual_seed(0)
        head = GFLHead(16, classes, STRIDES, "relu").eval()
        logits = head([torch.rand(1, 16, side, side) for side in (8, 4, 2, 1)])
        assert logits[..., :classes].sigmoid().flatten().tolist() == pytest.approx([0.01] * 85 * classes, rel=0.2)
        assert expected_distances(logits[..., classes:]).flatten().tolist() == pytest.approx([3.5] * 85 * 4, rel=0.1)

    def test_levels_share_no_parameter(self) -> None:
        head = GFLHead(4, 1, STRIDES, "relu")
        parts = [*head.towers, *head.outputs]
        parameters = [id(parameter) for part in parts for parameter in part.parameters()]
        assert len(parameters) == len(set(parameters)) == len(list(head.parameters()))

    def test_takes_one_map_for_each_stride(self) -> None:
        with pytest.raises(ValueError, match="shorter"):
            GFLHead(4, 1, STRIDES, "relu")([torch.rand(1, 4, 2, 2)] * 3)
