"""What holds of every head, and what each makes of its numbers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_detector import CHANNELS, HEADS, small_head
from torch import Tensor

from edgedet.models.heads.geometry import LARGEST_EXPONENT, boxes_from_centres
from edgedet.models.heads.ssdlite import anchor_sizes, boxes_from_offsets, offsets_of
from edgedet.models.zoo import list_heads
from edgedet.spec import MAX_SIDE

HEIGHT, WIDTH, CLASSES = 64, 96, 3
STRIDES = (8, 16, 32, 64)
CELLS = 8 * 12 + 4 * 6 + 2 * 3 + 1 * 2


@pytest.fixture(params=list_heads())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def maps_of(batch: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    sides = [(math.ceil(HEIGHT / stride), math.ceil(WIDTH / stride)) for stride in STRIDES]
    return [torch.randn(batch, CHANNELS, *side, generator=generator) for side in sides]


def raw_of(name: str, batch: int = 2, scale: float = 1.0) -> Tensor:
    head = small_head(name, CLASSES)
    generator = torch.Generator().manual_seed(0)
    return scale * torch.randn(batch, CELLS * head.anchors, head.row_length, generator=generator)


def test_every_head_of_the_zoo_is_looked_at_here() -> None:
    assert list(HEADS) == list_heads()


class TestEveryHead:
    def test_gives_a_row_for_each_box_of_its_points(self, name: str) -> None:
        head = small_head(name, CLASSES)
        raw = head(maps_of(2))
        points, strides = head.points(HEIGHT, WIDTH)
        assert raw.shape == (2, CELLS * head.anchors, head.row_length)
        assert points.shape == (CELLS * head.anchors, 2)
        assert strides.shape == (CELLS * head.anchors,)

    def test_a_cell_reaches_the_rows_of_its_surroundings_on_its_level_alone(self, name: str) -> None:
        head = small_head(name, CLASSES).eval()
        points, strides = head.points(HEIGHT, WIDTH)
        before = head(maps_of(1))
        for level, (row, column) in enumerate([(6, 3), (1, 4), (0, 2), (0, 1)]):
            maps = maps_of(1)
            maps[level][0, :, row, column] += 10
            changed = (head(maps) != before).any(dim=-1)[0]
            stride = STRIDES[level]
            centre = torch.tensor([(column + 0.5) * stride, (row + 0.5) * stride])
            away = (points - centre).abs().amax(dim=-1) / strides
            assert changed[(strides == stride) & (away == 0)].all()
            assert not changed[(strides != stride) | (away > 2)].any(), "two kernels of 3x3 reach two cells"

    def test_boxes_are_in_order_and_scores_in_range_whatever_the_numbers(self, name: str) -> None:
        head = small_head(name, CLASSES)
        for scale in (0.0, 1.0, 300.0):
            boxes, scores = head.decode(raw_of(name, scale=scale), *head.points(HEIGHT, WIDTH))
            assert boxes.shape == (2, CELLS * head.anchors, 4)
            assert scores.shape == (2, CELLS * head.anchors, CLASSES)
            assert boxes.isfinite().all()
            assert (boxes[..., 2:] >= boxes[..., :2]).all()
            assert scores.min() >= 0
            assert scores.max() <= 1

    def test_boxes_move_with_their_points_and_grow_with_their_strides(self, name: str) -> None:
        head, raw = small_head(name, CLASSES).double(), raw_of(name).double()
        points, strides = (value.double() for value in head.points(HEIGHT, WIDTH))
        boxes, scores = head.decode(raw, points, strides)
        moved, same_scores = head.decode(raw, points + torch.tensor([10.0, -7.0]), strides)
        grown, _ = head.decode(raw, 2 * points, 2 * strides)
        torch.testing.assert_close(moved, boxes + torch.tensor([10.0, -7.0, 10.0, -7.0]))
        torch.testing.assert_close(grown, 2 * boxes)
        assert torch.equal(scores, same_scores)

    def test_a_class_that_is_likelier_scores_higher(self, name: str) -> None:
        head, raw = small_head(name, CLASSES), raw_of(name)
        points = head.points(HEIGHT, WIDTH)
        _, before = head.decode(raw, *points)
        raw[..., 1] += 1
        _, after = head.decode(raw, *points)
        assert (after[..., 1] > before[..., 1]).all()
        assert (after[..., [0, 2]] <= before[..., [0, 2]]).all()

    def test_levels_share_no_parameter(self, name: str) -> None:
        head = small_head(name, CLASSES)
        for level in range(len(STRIDES)):
            head.zero_grad()
            maps = maps_of(2)
            rows = head.points(HEIGHT, WIDTH)[1] == STRIDES[level]
            head(maps)[:, rows].square().sum().backward()
            touched = {key for key, value in head.named_parameters() if value.grad is not None and value.grad.any()}
            assert touched
            assert {key.split(".")[1] for key in touched} == {str(level)}

    def test_takes_one_map_for_each_stride(self, name: str) -> None:
        with pytest.raises(ValueError, match="shorter"):
            small_head(name, CLASSES)(maps_of(1)[:3])


@pytest.mark.parametrize(
    ("name", "score"), [("gfl", 0.01), ("fcos", (0.01 * 0.5) ** 0.5), ("ssdlite", 1 / 4), ("yolo", 0.01**2)]
)
def test_starts_with_scores_that_say_little(name: str, score: float) -> None:
    head = small_head(name, CLASSES).eval()
    _, scores = head.decode(head(maps_of(1)), *head.points(HEIGHT, WIDTH))
    assert scores.mean().item() == pytest.approx(score, rel=0.1)


def test_the_largest_size_exceeds_the_largest_input() -> None:
    assert math.exp(LARGEST_EXPONENT) * min(STRIDES) > MAX_SIDE


def test_fcos_by_hand() -> None:
    head = small_head("fcos", 2, (16,))
    raw = torch.tensor([[[0.0, 2.0, 1.0, *(math.log(distance) for distance in (0.5, 1.0, 2.0, 0.25))]]])
    boxes, scores = head.decode(raw, torch.tensor([[24.0, 40.0]]), torch.tensor([16.0]))
    assert boxes[0, 0].tolist() == pytest.approx([16, 24, 56, 44])
    centreness = 1 / (1 + math.exp(-1))
    assert scores[0, 0].tolist() == pytest.approx([(0.5 * centreness) ** 0.5, (centreness / (1 + math.exp(-2))) ** 0.5])


def test_yolo_by_hand() -> None:
    head = small_head("yolo", 2, (16,))
    raw = torch.tensor([[[0.0, 2.0, 1.0, 0.25, -0.5, math.log(2), math.log(0.5)]]])
    boxes, scores = head.decode(raw, torch.tensor([[24.0, 40.0]]), torch.tensor([16.0]))
    assert boxes[0, 0].tolist() == pytest.approx([28 - 16, 32 - 4, 28 + 16, 32 + 4])
    objectness = 1 / (1 + math.exp(-1))
    assert scores[0, 0].tolist() == pytest.approx([0.5 * objectness, objectness / (1 + math.exp(-2))])


class TestSSDLite:
    def test_a_cells_anchors_are_the_papers_six_shapes(self) -> None:
        head = small_head("ssdlite", 1, (8,))
        points, strides = head.points(8, 16)
        assert points.tolist() == [[4, 4]] * 6 + [[12, 4]] * 6
        sizes = anchor_sizes(strides)
        widths, heights = sizes[:6].unbind(dim=1)
        assert (widths / heights).tolist() == pytest.approx([1, 1, 2, 1 / 2, 3, 1 / 3])
        assert (widths * heights).sqrt().tolist() == pytest.approx([32, 32 * 2**0.5, 32, 32, 32, 32])
        assert torch.equal(sizes[6:], sizes[:6])

    def test_offsets_of_zero_are_the_anchors(self) -> None:
        head = small_head("ssdlite", CLASSES)
        points, strides = head.points(HEIGHT, WIDTH)
        boxes, scores = head.decode(torch.zeros(1, len(points), head.row_length), points, strides)
        torch.testing.assert_close(boxes[0], boxes_from_centres(points, anchor_sizes(strides)))
        torch.testing.assert_close(scores, torch.full_like(scores, 1 / (CLASSES + 1)))

    def test_an_offset_by_hand(self) -> None:
        offsets = torch.tensor([2.0, -1.0, math.log(2) / 0.2, math.log(0.5) / 0.2])
        box = boxes_from_offsets(offsets, torch.tensor([100.0, 50.0]), torch.tensor([40.0, 20.0]))
        assert box.tolist() == pytest.approx([108 - 40, 48 - 5, 108 + 40, 48 + 5])

    def test_scores_are_a_softmax_with_the_background(self) -> None:
        head = small_head("ssdlite", 2, (8,))
        points, strides = head.points(8, 8)
        raw = torch.zeros(1, 6, head.row_length)
        raw[0, 0, :3] = torch.tensor([1.0, 2.0, 3.0])
        _, scores = head.decode(raw, points, strides)
        total = math.exp(1) + math.exp(2) + math.exp(3)
        assert scores[0, 0].tolist() == pytest.approx([math.exp(1) / total, math.exp(2) / total])

    @given(
        st.tuples(*[st.floats(-100, 400)] * 2, *[st.floats(1, 400)] * 2),
        st.tuples(*[st.floats(0, 320)] * 2, *[st.floats(8, 400)] * 2),
    )
    @settings(max_examples=40)
    def test_a_boxs_offsets_lead_back_to_it(
        self, box: tuple[float, float, float, float], anchor: tuple[float, float, float, float]
    ) -> None:
        target = boxes_from_centres(torch.tensor(box[:2]).double(), torch.tensor(box[2:]).double())
        centre, size = torch.tensor(anchor).double().split(2)
        found = boxes_from_offsets(offsets_of(target, centre, size), centre, size)
        torch.testing.assert_close(found, target, rtol=1e-9, atol=1e-9)
