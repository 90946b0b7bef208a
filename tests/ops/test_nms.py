"""The NMS family: published vectors, and the identities that tie its members together."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet.errors import EdgedetError
from edgedet.ops.nms import cluster_nms, diou_nms, fast_nms, greedy_nms, soft_nms_gaussian, soft_nms_linear

Suppression = Callable[..., np.ndarray]

HARD: list[Suppression] = [greedy_nms, diou_nms, cluster_nms, fast_nms]
SOFT = [soft_nms_linear, soft_nms_gaussian]
NEIGHBOURS = np.array([[0, 0, 10, 10], [3, 0, 13, 10], [6, 0, 16, 10], [9, 0, 19, 10], [40, 40, 50, 50]], np.float32)
"""Those beside each other overlap by IoU .5385; DIoU is .5050, and .3555 with the exponent .5."""


def descending(count: int) -> np.ndarray:
    return np.linspace(0.9, 0.3, count, dtype=np.float32)


def chain(count: int) -> np.ndarray:
    """Each box overlaps only the next one by IoU above .5."""
    return np.array([[3 * i, 0, 3 * i + 10, 10] for i in range(count)], np.float32)


def scene(seed: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes in clusters, some without area, with ties among the scores, of three classes."""
    random = np.random.default_rng(seed)
    centres = random.uniform(0, 60, (max(count // 8, 1), 2))[random.integers(max(count // 8, 1), size=count)]
    centres = centres + random.normal(0, 4, (count, 2))
    sides = random.uniform(-1, 30, (count, 2))
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1).astype(np.float32)
    return boxes, random.integers(1, 40, count).astype(np.float32) / 40, random.integers(0, 3, count)


class TestKnownAnswers:
    @pytest.mark.parametrize("suppression", [greedy_nms, diou_nms, cluster_nms, partial(cluster_nms, beta=1.0)])
    def test_every_second_of_a_chain_of_neighbours_stays(self, suppression: Suppression) -> None:
        assert suppression(NEIGHBOURS, descending(5), iou_threshold=0.5).tolist() == [0, 2, 4]

    @pytest.mark.parametrize("suppression", [diou_nms, cluster_nms])
    def test_a_smaller_exponent_spares_all_neighbours(self, suppression: Suppression) -> None:
        assert suppression(NEIGHBOURS, descending(5), iou_threshold=0.5, beta=0.5).tolist() == [0, 1, 2, 3, 4]

    def test_fast_nms_drops_a_box_for_one_that_is_dropped_itself(self) -> None:
        assert fast_nms(NEIGHBOURS, descending(5), iou_threshold=0.5).tolist() == [0, 4]

    def test_a_distant_centre_spares_a_box_that_plain_iou_drops(self) -> None:
        boxes = np.array([[0, 0, 100, 100], [20, 0, 120, 100], [0, 0, 98, 100]], np.float32)
        for plain, with_centres in ((greedy_nms, diou_nms), (cluster_nms, partial(cluster_nms, beta=1.0))):
            assert plain(boxes, descending(3), iou_threshold=0.66).tolist() == [0]
            assert with_centres(boxes, descending(3), iou_threshold=0.66).tolist() == [0, 1]

    def test_a_chain_of_forty_boxes_needs_thirty_nine_passes_and_one_that_changes_nothing(self) -> None:
        boxes, scores = chain(40), descending(40)
        every_second = list(range(0, 40, 2))
        assert cluster_nms(boxes, scores, iou_threshold=0.5).tolist() == every_second
        assert cluster_nms(boxes, scores, iou_threshold=0.5, max_passes=39).tolist() == every_second
        assert cluster_nms(boxes, scores, iou_threshold=0.5, max_passes=38).tolist() != every_second

    @pytest.mark.parametrize("suppression", [greedy_nms, cluster_nms])
    def test_mmcv_vector_of_plain_nms(self, oracles: Path, suppression: Suppression) -> None:
        boxes, scores, vector = mmcv(oracles)
        kept = suppression(boxes, scores, iou_threshold=vector["iou_threshold"])
        assert kept.tolist() == vector["keep"]

    @pytest.mark.parametrize(
        ("soft", "name"),
        [
            (partial(soft_nms_linear, iou_threshold=0.3), "soft_linear"),
            (partial(soft_nms_gaussian, sigma=0.5), "soft_gaussian_sigma0.5"),
        ],
    )
    def test_mmcv_vectors_of_soft_nms(self, oracles: Path, soft: Any, name: str) -> None:
        boxes, scores, vector = mmcv(oracles)
        kept, found = soft(boxes, scores)
        assert kept.tolist() == vector[name]["inds"]
        np.testing.assert_allclose(found, vector[name]["scores"], atol=1e-6)

    @pytest.mark.parametrize("suppression", [greedy_nms, cluster_nms])
    def test_mmcv_batched_nms(self, oracles: Path, suppression: Suppression) -> None:
        data = np.load(oracles / "nms" / "batched_nms_data.npz")
        kept = suppression(data["boxes"], data["scores"], data["idxs"], iou_threshold=0.7)
        np.testing.assert_array_equal(kept, data["keep"])

    @pytest.mark.parametrize("suppression", [diou_nms, partial(cluster_nms, beta=1.0)])
    def test_independent_class_wise_diou_nms_in_float64(self, oracles: Path, suppression: Suppression) -> None:
        data = np.load(oracles / "nms" / "boxes_1000_20.npz")
        kept = suppression(data["boxes"], data["scores"], data["classes"], iou_threshold=0.6)
        np.testing.assert_array_equal(kept, data["keep_diou_060"])


def mmcv(oracles: Path) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    vector = json.loads((oracles / "box_vectors.json").read_text())["mmcv_nms"]
    return np.array(vector["boxes"], np.float32), np.array(vector["scores"], np.float32), vector


class TestOrder:
    @pytest.mark.parametrize("suppression", HARD)
    def test_an_overlap_at_the_threshold_is_kept(self, suppression: Suppression) -> None:
        half_inside = np.array([[0, 0, 4, 4], [1, 0, 3, 4]], np.float32)  # one centre, IoU exactly 0.5
        assert suppression(half_inside, descending(2), iou_threshold=0.5).tolist() == [0, 1]
        assert suppression(half_inside, descending(2), iou_threshold=0.4999).tolist() == [0]

    @pytest.mark.parametrize("suppression", HARD)
    def test_of_equal_scores_the_first_wins_and_indices_are_of_the_boxes_as_given(
        self, suppression: Suppression
    ) -> None:
        box, other = [0, 0, 10, 10], [50, 50, 60, 60]
        boxes, scores = np.array([other, box, box, box], np.float32), np.array([0.4, 0.7, 0.9, 0.9], np.float32)
        assert suppression(boxes, scores).tolist() == [2, 0]

    @pytest.mark.parametrize("suppression", HARD)
    def test_classes_suppress_each_other_only_without_labels(self, suppression: Suppression) -> None:
        boxes = np.array([[0, 0, 10, 10]] * 3, np.float32)
        assert suppression(boxes, descending(3), np.array([0, 1, 0])).tolist() == [0, 1]
        assert suppression(boxes, descending(3)).tolist() == [0]

    @pytest.mark.parametrize("soft", SOFT)
    def test_soft_suppression_lowers_no_score_of_another_class(self, soft: Any) -> None:
        boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 9]], np.float32)
        scores = np.array([0.9, 0.8, 0.7], np.float32)
        kept, found = soft(boxes, scores, np.array([0, 1, 0]))
        assert kept.tolist() == [0, 1, 2]
        assert found[:2].tolist() == scores[:2].tolist() and found[2] < 0.2

    def test_linear_decay_begins_at_the_threshold_itself(self) -> None:
        half_inside = np.array([[0, 0, 4, 4], [1, 0, 3, 4]], np.float32)  # IoU exactly 0.5
        scores = np.array([0.9, 0.8], np.float32)
        assert soft_nms_linear(half_inside, scores, iou_threshold=0.5)[1][1] == np.float32(0.4)
        assert soft_nms_linear(half_inside, scores, iou_threshold=0.5001)[1][1] == np.float32(0.8)

    @pytest.mark.parametrize("soft", SOFT)
    def test_a_lowered_score_changes_the_order(self, soft: Any) -> None:
        boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]], np.float32)
        kept, found = soft(boxes, np.array([0.9, 0.8, 0.5], np.float32))
        assert kept.tolist() == [0, 2, 1]
        assert found[1] == 0.5

    @pytest.mark.parametrize("suppression", HARD)
    def test_boxes_without_area_stay_and_suppress_nothing(self, suppression: Suppression) -> None:
        boxes = np.array([[5, 5, 5, 5], [5, 5, 5, 5], [8, 8, 2, 2], [0, 0, 10, 10]], np.float32)
        assert suppression(boxes, descending(4), iou_threshold=0.0).tolist() == [0, 1, 2, 3]

    @pytest.mark.parametrize("suppression", HARD)
    def test_without_boxes_nothing_is_kept(self, suppression: Suppression) -> None:
        kept = suppression(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64))
        assert (kept.dtype, kept.shape) == (np.int64, (0,))

    @pytest.mark.parametrize("soft", SOFT)
    def test_without_boxes_no_score_is_left(self, soft: Any) -> None:
        kept, found = soft(np.empty((0, 4), np.float32), np.empty(0, np.float32))
        assert (kept.dtype, kept.shape, found.dtype, found.shape) == (np.int64, (0,), np.float32, (0,))

    @pytest.mark.parametrize("soft", SOFT)
    def test_a_score_that_falls_to_the_threshold_ends_a_box(self, soft: Any) -> None:
        boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 60, 60]], np.float32)
        kept, _ = soft(boxes, np.array([0.9, 0.8, 0.25], np.float32), score_threshold=0.25)
        assert kept.tolist() == [0]


scenes = st.builds(scene, st.integers(0, 2**32 - 1), st.integers(0, 80))


class TestIdentities:
    @settings(max_examples=60)
    @given(scene=scenes, threshold=st.sampled_from([0.0123, 0.3456, 0.6543]), agnostic=st.booleans())
    def test_cluster_nms_is_greedy_nms(
        self, scene: tuple[np.ndarray, np.ndarray, np.ndarray], threshold: float, agnostic: bool
    ) -> None:
        boxes, scores, labels = scene[0], scene[1], None if agnostic else scene[2]
        expected = greedy_nms(boxes, scores, labels, iou_threshold=threshold)
        np.testing.assert_array_equal(cluster_nms(boxes, scores, labels, iou_threshold=threshold), expected)

    @settings(max_examples=60)
    @given(scene=scenes, threshold=st.sampled_from([0.0123, 0.3456, 0.6543]), beta=st.sampled_from([0.6, 1.0, 2.0]))
    def test_cluster_nms_is_greedy_diou_nms(
        self, scene: tuple[np.ndarray, np.ndarray, np.ndarray], threshold: float, beta: float
    ) -> None:
        expected = diou_nms(*scene, iou_threshold=threshold, beta=beta)
        np.testing.assert_array_equal(cluster_nms(*scene, iou_threshold=threshold, beta=beta), expected)

    @settings(max_examples=20)
    @given(seed=st.integers(0, 2**32 - 1), beta=st.sampled_from([1.0, math.inf]))
    def test_chains_of_forty_in_any_order_of_scores_end_at_greedys_answer(self, seed: int, beta: float) -> None:
        boxes = chain(40)
        scores = np.random.default_rng(seed).permutation(descending(40))
        expected = diou_nms(boxes, scores, iou_threshold=0.5, beta=beta)
        np.testing.assert_array_equal(cluster_nms(boxes, scores, iou_threshold=0.5, beta=beta), expected)

    @settings(max_examples=30)
    @given(scene=scenes)
    def test_fast_nms_keeps_a_part_of_what_greedy_keeps(self, scene: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
        assert set(fast_nms(*scene, iou_threshold=0.3456)) <= set(greedy_nms(*scene, iou_threshold=0.3456))

    @settings(max_examples=30)
    @given(scene=scenes, threshold=st.sampled_from([0.0123, 0.3456, 0.6543]))
    def test_greedy_keeps_no_two_that_overlap_and_drops_none_without_a_better_one_that_does(
        self, scene: tuple[np.ndarray, np.ndarray, np.ndarray], threshold: float
    ) -> None:
        boxes, scores, labels = scene
        kept = greedy_nms(boxes, scores, labels, iou_threshold=threshold).tolist()
        for i in range(len(boxes)):
            better = [j for j in kept if labels[j] == labels[i] and (-scores[j], j) < (-scores[i], i)]
            assert (i in kept) == all(overlap(boxes[i], boxes[j]) <= threshold for j in better)

    @settings(max_examples=30)
    @given(scene=scenes, soft=st.sampled_from(SOFT))
    def test_soft_scores_fall_in_order_and_rise_above_no_score_that_was(
        self, scene: tuple[np.ndarray, np.ndarray, np.ndarray], soft: Any
    ) -> None:
        kept, found = soft(*scene)
        assert len(set(kept.tolist())) == len(kept)
        assert np.all(np.diff(found) <= 0)
        assert np.all(found <= scene[1][kept]) and np.all(found > 0.001)

    @settings(max_examples=30)
    @given(scene=scenes, soft=st.sampled_from(SOFT))
    def test_soft_suppression_of_classes_together_is_that_of_each_class_alone(
        self, scene: tuple[np.ndarray, np.ndarray, np.ndarray], soft: Any
    ) -> None:
        boxes, scores, labels = scene
        together = dict(zip(*(found.tolist() for found in soft(*scene)), strict=True))
        alone: dict[int, float] = {}
        for label in range(3):
            places = np.flatnonzero(labels == label)
            kept, found = soft(boxes[places], scores[places])
            alone |= dict(zip(places[kept].tolist(), found.tolist(), strict=True))
        assert together == alone


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """IoU of two boxes, as it reads."""
    ax1, ay1, ax2, ay2 = map(float, a)
    bx1, by1, bx2, by2 = map(float, b)
    shared = max(min(ax2, bx2) - max(ax1, bx1), 0.0) * max(min(ay2, by2) - max(ay1, by1), 0.0)
    areas = sum(
        max(x2 - x1, 0.0) * max(y2 - y1, 0.0) for x1, y1, x2, y2 in ((ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2))
    )
    return shared / (areas - shared) if areas > shared else 0.0


class TestWrongUse:
    @pytest.mark.parametrize("suppression", [*HARD, soft_nms_linear])
    @pytest.mark.parametrize("threshold", [-0.1, 1.1, math.nan])
    def test_a_threshold_that_is_no_overlap_is_refused(self, suppression: Suppression, threshold: float) -> None:
        with pytest.raises(EdgedetError, match="iou_threshold"):
            suppression(NEIGHBOURS, descending(5), iou_threshold=threshold)

    @pytest.mark.parametrize("suppression", [diou_nms, cluster_nms])
    @pytest.mark.parametrize("beta", [0.0, -1.0, math.nan])
    def test_an_exponent_that_is_not_above_zero_is_refused(self, suppression: Suppression, beta: float) -> None:
        with pytest.raises(EdgedetError, match="beta"):
            suppression(NEIGHBOURS, descending(5), beta=beta)

    @pytest.mark.parametrize("sigma", [0.0, -0.5, math.nan])
    def test_a_gaussian_without_width_is_refused(self, sigma: float) -> None:
        with pytest.raises(EdgedetError, match="sigma"):
            soft_nms_gaussian(NEIGHBOURS, descending(5), sigma=sigma)

    @pytest.mark.parametrize("suppression", [*HARD, *SOFT])
    @pytest.mark.parametrize(
        ("boxes", "scores", "labels"),
        [((5, 4), (4,), None), ((5, 3), (5,), None), ((5, 4), (5, 1), None), ((5, 4), (5,), (4,))],
    )
    def test_shapes_that_do_not_fit_are_refused(
        self, suppression: Suppression, boxes: Any, scores: Any, labels: Any
    ) -> None:
        with pytest.raises(ValueError, match=r"not boxes \[n, 4\]"):
            suppression(
                np.zeros(boxes, np.float32),
                np.zeros(scores, np.float32),
                None if labels is None else np.zeros(labels, np.int64),
            )
