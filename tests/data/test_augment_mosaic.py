from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from edgedet.data.augment.geometric import AffineTransform, visible
from edgedet.data.augment.mosaic import tile_placements

SIDES = st.lists(st.tuples(st.floats(8, 640), st.floats(8, 640)), min_size=4, max_size=4)
SEEDS = st.integers(0, 10_000)


def array(values: object) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32).reshape(-1, 4)


@given(SIDES, st.integers(32, 640), SEEDS)
@settings(max_examples=40)
def test_four_quarters_tile_the_canvas(sides: list[tuple[float, float]], size: int, seed: int) -> None:
    quarters = [quarter for _, quarter in tile_placements(size, sides, np.random.default_rng(seed))]
    assert sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in quarters) == pytest.approx(4 * size * size)
    for probe in np.random.default_rng(0).uniform(0, 2 * size, size=(50, 2)):
        assert sum(x1 <= probe[0] < x2 and y1 <= probe[1] < y2 for x1, y1, x2, y2 in quarters) == 1


@given(SIDES, st.integers(32, 640), SEEDS)
@settings(max_examples=40)
def test_tiles_touch_the_meeting_point_with_their_corner(
    sides: list[tuple[float, float]], size: int, seed: int
) -> None:
    placements = tile_placements(size, sides, np.random.default_rng(seed))
    centre = np.array(placements[0][1][2:])
    assert (centre >= 0.5 * size).all() and (centre <= 1.5 * size).all()
    for (shift, quarter), (height, width), corner in zip(
        placements, sides, ((2, 3), (0, 3), (2, 1), (0, 1)), strict=True
    ):
        assert (shift.scale_x, shift.scale_y) == (1, 1)
        placed = shift.boxes(array([0, 0, width, height]))[0]
        assert_allclose(placed[list(corner)], centre, rtol=1e-5, atol=1e-3)
        assert_allclose(np.array(quarter)[list(corner)], centre)


@given(SIDES, SEEDS)
@settings(max_examples=40)
def test_boxes_in_the_hidden_part_of_a_tile_vanish(sides: list[tuple[float, float]], seed: int) -> None:
    size = 100
    for (shift, quarter), (height, width) in zip(
        tile_placements(size, sides, np.random.default_rng(seed)), sides, strict=True
    ):
        rows, columns = np.mgrid[0 : height - 5 : 5, 0 : width - 5 : 5]
        boxes = np.stack([columns, rows, columns + 5, rows + 5], axis=-1).astype(np.float32).reshape(-1, 4)
        moved = shift.boxes(boxes)
        _, keep = visible(moved, np.array(quarter, dtype=np.float32))
        x1, y1, x2, y2 = quarter
        centres = (moved[:, :2] + moved[:, 2:]) / 2
        inside = ((centres > (x1, y1)) & (centres < (x2, y2))).all(axis=1)
        beyond = ((moved[:, 2:] <= (x1, y1)) | (moved[:, :2] >= (x2, y2))).any(axis=1)
        assert not (keep & beyond).any()
        assert keep[inside].all()


def test_a_tile_larger_than_its_quarter_is_cropped_at_the_far_side() -> None:
    rng = np.random.default_rng(0)
    (shift, quarter), *_ = tile_placements(100, [(400.0, 400.0)] * 4, rng)
    assert isinstance(shift, AffineTransform)
    kept, keep = visible(
        shift.boxes(array([[0, 0, 50, 50], [340, 340, 400, 400]])), np.array(quarter, dtype=np.float32)
    )
    assert keep.tolist() == [False, True]
    assert_allclose(kept[1, 2:], quarter[2:])


def test_is_a_function_of_the_generator() -> None:
    first, second, third = (
        tile_placements(64, [(64.0, 48.0)] * 4, np.random.default_rng(seed))[0][1] for seed in (1, 1, 2)
    )
    assert first == second != third
