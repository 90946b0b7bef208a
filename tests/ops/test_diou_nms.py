from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from nms_implementations import detections, in_onnx_reference, in_onnx_runtime, in_pytorch, model

from edgedet.errors import EdgedetError
from edgedet.ops.diou_nms import DIoUNMS, native, reference
from edgedet.ops.diou_nms.reference import suppress

EVERYTHING = {"score_threshold": 0.0, "pre_nms_top_k": 10**6, "max_detections": 10**6}
PLAIN_IOU = 1e6  # the centre term, below 1, to this power is 0


def criterion(a: np.ndarray, b: np.ndarray, beta: float) -> float:
    """The definition, written as it reads."""
    ax1, ay1, ax2, ay2 = map(float, a)
    bx1, by1, bx2, by2 = map(float, b)
    width = max(min(ax2, bx2) - max(ax1, bx1), 0.0)
    height = max(min(ay2, by2) - max(ay1, by1), 0.0)
    areas = [max(x2 - x1, 0.0) * max(y2 - y1, 0.0) for x1, y1, x2, y2 in ((ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2))]
    union = sum(areas) - width * height
    iou = width * height / union if union > 0 else 0.0
    rho = math.hypot((ax1 + ax2) / 2 - (bx1 + bx2) / 2, (ay1 + ay2) / 2 - (by1 + by2) / 2)
    c = math.hypot(max(ax2, bx2) - min(ax1, bx1), max(ay2, by2) - min(ay1, by1))
    return iou - ((rho / c) ** 2) ** beta if c > 0 else iou


def brute_force(boxes: np.ndarray, scores: np.ndarray, attributes: DIoUNMS) -> list[tuple[int, int]]:
    """The kept (box, class) pairs, by the definition's four steps."""
    candidates = [
        (-float(scores[i, c]), i * scores.shape[1] + c, i, c)
        for i in range(len(boxes))
        for c in range(scores.shape[1])
        if scores[i, c] > np.float32(attributes.score_threshold) and np.isfinite(boxes[i]).all()
    ]
    kept: list[tuple[int, int]] = []
    for _, _, i, c in sorted(candidates)[: attributes.pre_nms_top_k]:
        rivals = [j for j, other in kept if other == c or attributes.class_agnostic]
        if not any(criterion(boxes[j], boxes[i], attributes.beta) > attributes.iou_threshold for j in rivals):
            kept.append((i, c))
    return kept[: attributes.max_detections]


def run(boxes: object, scores: object, **attributes: object) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return detections(np.array(boxes, np.float32), np.array(scores, np.float32), DIoUNMS(**attributes))


def kept_of(boxes: object, **attributes: object) -> list[int]:
    """Which boxes of one class, given best first, are kept."""
    boxes = np.array(boxes, np.float32)
    scores = np.linspace(0.9, 0.3, len(boxes), dtype=np.float32)[:, None]
    kept = run(boxes, scores, score_threshold=0.0, **attributes)[1]
    return [int(np.flatnonzero(scores[:, 0] == score)[0]) for score in kept]


class TestKnownAnswers:
    chain = ((0, 0, 10, 10), (3, 0, 13, 10), (6, 0, 16, 10), (9, 0, 19, 10), (40, 40, 50, 50))

    @pytest.mark.parametrize(("beta", "kept"), [(1.0, [0, 2, 4]), (0.5, [0, 1, 2, 3, 4]), (PLAIN_IOU, [0, 2, 4])])
    def test_chain_of_neighbours(self, beta: float, kept: list[int]) -> None:
        assert kept_of(self.chain, iou_threshold=0.5, beta=beta) == kept

    def test_distant_centre_spares_a_box_that_plain_iou_drops(self) -> None:
        boxes = [[0, 0, 100, 100], [20, 0, 120, 100], [0, 0, 98, 100]]
        assert kept_of(boxes, iou_threshold=0.66, beta=PLAIN_IOU) == [0]
        assert kept_of(boxes, iou_threshold=0.66, beta=1.0) == [0, 1]

    def test_long_chain_needs_as_many_decisions_as_boxes(self) -> None:
        boxes = [[3 * i, 0, 3 * i + 10, 10] for i in range(40)]
        assert kept_of(boxes, iou_threshold=0.5) == list(range(0, 40, 2))

    def test_mmcv_vector_of_plain_nms(self, oracles: Path) -> None:
        vector = json.loads((oracles / "box_vectors.json").read_text())["mmcv_nms"]
        boxes = np.array(vector["boxes"], np.float32)
        kept, scores, _ = run(
            boxes,
            np.array(vector["scores"])[:, None],
            iou_threshold=vector["iou_threshold"],
            beta=PLAIN_IOU,
            score_threshold=0.0,
        )
        np.testing.assert_array_equal(kept, boxes[vector["keep"]])
        np.testing.assert_array_equal(scores, np.array(vector["scores"], np.float32)[vector["keep"]])

    @pytest.mark.parametrize("source", ["torchmetrics", "torchvision"])
    def test_pairs_fall_at_the_published_diou(self, oracles: Path, source: str) -> None:
        vector = json.loads((oracles / "box_vectors.json").read_text())[source]
        first, second = ("preds", "target") if source == "torchmetrics" else ("boxes1", "boxes2")
        compared = 0
        for i, a in enumerate(vector[first]):
            for j, b in enumerate(vector[second]):
                diou = vector["diou"][i][j]
                if 0.01 < diou < 0.99:
                    assert kept_of([a, b], iou_threshold=diou + 1e-4) == [0, 1]
                    assert kept_of([a, b], iou_threshold=diou - 1e-4) == [0]
                    compared += 1
        assert compared >= 2

    def test_mmcv_batched_nms(self, oracles: Path) -> None:
        data = np.load(oracles / "nms" / "batched_nms_data.npz")
        scores = np.zeros((len(data["boxes"]), 5), np.float32)
        scores[np.arange(len(scores)), data["idxs"]] = data["scores"]
        kept = run(data["boxes"], scores, iou_threshold=0.7, beta=PLAIN_IOU, **EVERYTHING)
        np.testing.assert_array_equal(kept[0], data["boxes"][data["keep"]])
        np.testing.assert_array_equal(kept[2], data["idxs"][data["keep"]])

    @pytest.mark.parametrize("classes", [1, 20, 80])
    @pytest.mark.parametrize("count", [100, 1000, 5000])
    def test_independent_greedy_in_float64(self, oracles: Path, count: int, classes: int) -> None:
        data = np.load(oracles / "nms" / f"boxes_{count}_{classes}.npz")
        scores = np.zeros((count, classes), np.float32)
        scores[np.arange(count), data["classes"]] = data["scores"]
        kept = run(data["boxes"], scores, iou_threshold=0.6, **EVERYTHING)
        expected = data["keep_diou_060"]
        np.testing.assert_array_equal(kept[0], data["boxes"][expected])
        np.testing.assert_array_equal(kept[1], data["scores"][expected])
        np.testing.assert_array_equal(kept[2], data["classes"][expected])


class TestDefinition:
    box = (0, 0, 10, 10)

    def test_types_and_shapes(self) -> None:
        boxes, scores, class_ids = run([self.box], [[0.1, 0.9]])
        assert (boxes.dtype, boxes.shape) == (np.float32, (1, 4))
        assert (scores.dtype, scores.shape) == (np.float32, (1,))
        assert (class_ids.dtype, class_ids.tolist()) == (np.int64, [1])

    @pytest.mark.parametrize("shape", [(0, 3), (4, 0), (0, 0)])
    def test_nothing_to_decide(self, shape: tuple[int, int]) -> None:
        boxes, scores, class_ids = run(np.zeros((shape[0], 4)), np.ones(shape))
        assert (boxes.shape, scores.shape, class_ids.shape) == ((0, 4), (0,), (0,))

    def test_a_score_at_the_threshold_is_no_candidate(self) -> None:
        above = np.nextafter(np.float32(0.25), np.float32(1))
        assert run([self.box], [[0.25]], score_threshold=0.25)[1].tolist() == []
        assert run([self.box], [[above]], score_threshold=0.25)[1].tolist() == [above]

    def test_an_overlap_at_the_threshold_is_kept(self) -> None:
        half_inside = [[0, 0, 4, 4], [1, 0, 3, 4]]  # the same centre, IoU exactly 0.5
        assert kept_of(half_inside, iou_threshold=0.5) == [0, 1]
        assert kept_of(half_inside, iou_threshold=0.4999) == [0]

    def test_equal_scores_go_to_the_lower_flat_index(self) -> None:
        boxes = [[0, 0, 10, 10], [50, 0, 60, 10], [0, 0, 10, 11]]
        kept, _, class_ids = run(boxes, [[0.5, 0.7], [0.7, 0.5], [0.7, 0.7]], iou_threshold=0.5)
        assert kept[:, :2].tolist() == [[0, 0], [50, 0], [0, 0], [50, 0]]
        assert kept[:, 3].tolist() == [10, 10, 11, 10]
        assert class_ids.tolist() == [1, 0, 0, 1]

    def test_ties_at_the_cut_before_suppression_go_to_the_lower_flat_index(self) -> None:
        boxes = [[20 * i, 0, 20 * i + 10, 10] for i in range(6)]
        kept = run(boxes, [[0.5], [0.9], [0.5], [0.5], [0.4], [0.5]], pre_nms_top_k=3)[0]
        assert kept[:, 0].tolist() == [20, 0, 40]

    def test_the_cut_before_suppression_can_leave_fewer_detections(self) -> None:
        boxes = [self.box, self.box, [50, 50, 60, 60]]
        assert len(run(boxes, [[0.9], [0.8], [0.7]], pre_nms_top_k=2)[0]) == 1

    def test_the_limit_takes_the_best_over_all_classes(self) -> None:
        boxes = [[20 * i, 0, 20 * i + 10, 10] for i in range(4)]
        scores = [[0.3, 0], [0.9, 0], [0, 0.8], [0, 0.4]]
        assert run(boxes, scores, max_detections=2)[2].tolist() == [0, 1]

    def test_classes_do_not_suppress_each_other_unless_agnostic(self) -> None:
        assert run([self.box], [[0.9, 0.8]])[2].tolist() == [0, 1]
        assert run([self.box], [[0.9, 0.8]], class_agnostic=True)[2].tolist() == [0]

    def test_classes_stay_apart_where_an_offset_would_round(self) -> None:
        """Shifting class 79 by a class offset would move these corners by quarters of pixels in float32."""
        far = 8_000.0
        boxes = [[far, far, far + 1.0, far + 1.0], [far + 0.45, far, far + 1.45, far + 1.0]]
        scores = np.zeros((2, 80), np.float32)
        scores[:, 79] = 0.9, 0.8
        diou = criterion(*np.array(boxes, np.float32), 1.0)
        assert len(run(boxes, scores, iou_threshold=diou + 1e-4)[0]) == 2
        assert len(run(boxes, scores, iou_threshold=diou - 1e-4)[0]) == 1

    def test_nan_scores_and_boxes_that_are_not_finite_never_win(self) -> None:
        nan, inf = float("nan"), float("inf")
        boxes = [self.box, [nan, 0, 10, 10], [0, 0, inf, 10], [-inf, -inf, inf, inf], self.box]
        kept, scores, _ = run(boxes, [[nan], [0.9], [0.9], [0.9], [0.6]])
        assert kept.tolist() == [list(self.box)]
        assert scores.tolist() == [np.float32(0.6)]

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize(
        "odd",
        [(5, 5, 5, 5), (2, 2, 2, 9), (8, 8, 2, 2), (8, 2, 2, 8), (-3e38, -3e38, 3e38, 3e38), (4, 4, 4 + 1e-6, 5)],
    )
    def test_degenerate_boxes_neither_suppress_nor_disappear(self, odd: tuple[float, ...]) -> None:
        kept = run([odd, odd, self.box], [[0.9], [0.8], [0.7]], iou_threshold=0.0, beta=1.0)[0]
        suppresses = odd[0] < odd[2] and odd[1] < odd[3]
        assert len(kept) >= (1 if suppresses else 3)
        attributes = DIoUNMS(iou_threshold=0.0)
        boxes = np.array([odd, odd, self.box], np.float32)
        assert len(kept) == len(brute_force(boxes, np.array([[0.9], [0.8], [0.7]], np.float32), attributes))


coordinates = st.integers(0, 12).map(float)
some_boxes = npst.arrays(np.float32, st.tuples(st.integers(0, 12), st.just(4)), elements=coordinates)


class TestAgainstBruteForce:
    @settings(deadline=None)
    @given(
        boxes=some_boxes,
        classes=st.integers(1, 3),
        seed=st.integers(0, 2**32 - 1),
        attributes=st.builds(
            DIoUNMS,
            score_threshold=st.sampled_from([0.0, 0.3]),
            iou_threshold=st.sampled_from([0.0123, 0.1234, 0.4567]),
            beta=st.sampled_from([0.6, 1.0, 2.0]),
            pre_nms_top_k=st.integers(1, 30),
            max_detections=st.integers(1, 30),
            class_agnostic=st.booleans(),
        ),
        block=st.sampled_from([1, 2, 5, 192]),
    )
    def test_small_crowded_scenes_with_ties(
        self, boxes: np.ndarray, classes: int, seed: int, attributes: DIoUNMS, block: int
    ) -> None:
        scores = np.random.default_rng(seed).integers(0, 6, (len(boxes), classes)).astype(np.float32) / 5
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reference, "BLOCK", block)
            kept, score, class_ids = detections(boxes, scores, attributes)
        expected = brute_force(boxes, scores, attributes)
        assert class_ids.tolist() == [c for _, c in expected]
        assert score.tolist() == [scores[i, c] for i, c in expected]
        assert kept.tolist() == [boxes[i].tolist() for i, _ in expected]

    @pytest.mark.parametrize("seed", range(3))
    def test_scenes_of_several_blocks(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        centres, sizes = random.random((400, 2)) * 100, random.random((400, 2)) * 30 + 5
        boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1).astype(np.float32)
        scores = random.random((400, 2), np.float32)
        attributes = DIoUNMS(score_threshold=0.3, iou_threshold=0.3)
        expected = brute_force(boxes, scores, attributes)
        kept, _, class_ids = detections(boxes, scores, attributes)
        assert class_ids.tolist() == [c for _, c in expected]
        np.testing.assert_array_equal(kept, boxes[[i for i, _ in expected]])


class TestProperties:
    @settings(deadline=None)
    @given(boxes=some_boxes, seed=st.integers(0, 2**32 - 1))
    def test_kept_boxes_do_not_suppress_each_other_and_every_dropped_one_has_a_reason(
        self, boxes: np.ndarray, seed: int
    ) -> None:
        groups = np.random.default_rng(seed).integers(0, 2, len(boxes))
        kept = suppress(boxes, groups, iou_threshold=0.2973, beta=1.0, limit=100).tolist()
        assert kept == sorted(set(kept))
        for j in range(len(boxes)):
            reasons = [
                i for i in kept if i < j and groups[i] == groups[j] and criterion(boxes[i], boxes[j], 1.0) > 0.2973
            ]
            assert (j in kept) == (not reasons)


ordinary = st.floats(-1e4, 1e4, width=32)
extreme = st.sampled_from([0.0, -0.0, 1e-30, 1e-16, 1.0, 1e18, 3e38, -3e38, math.inf, -math.inf, math.nan])
wild_boxes = npst.arrays(
    np.float32, st.tuples(st.integers(0, 40), st.just(4)), elements=ordinary | extreme | coordinates
)


class TestNative:
    @settings(deadline=None, max_examples=300)
    @given(
        boxes=wild_boxes,
        classes=st.integers(1, 3),
        seed=st.integers(0, 2**32 - 1),
        iou_threshold=st.sampled_from([0.0123, 0.4567, 0.9]),
        beta=st.sampled_from([0.6, 1.0, PLAIN_IOU]),
    )
    @pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
    def test_wild_boxes_and_scores(
        self, boxes: np.ndarray, classes: int, seed: int, iou_threshold: float, beta: float
    ) -> None:
        rng = np.random.default_rng(seed)
        scores = rng.choice(np.array([0, 1e-40, 0.5, 1, np.inf, np.nan, -1], np.float32), (len(boxes), classes))
        detections(boxes, scores, DIoUNMS(score_threshold=0.0, iou_threshold=iou_threshold, beta=beta))

    @pytest.mark.parametrize("count", [63, 64, 65, 399, 401, 3000])
    def test_any_number_of_candidates(self, count: int) -> None:
        rng = np.random.default_rng(count)
        corners = rng.random((count, 2), np.float32) * 300
        boxes = np.concatenate([corners, corners + rng.random((count, 2), np.float32) * 40], axis=1)
        scores = (rng.integers(0, 50, (count, 2)) / 50).astype(np.float32)
        for limit in (10, 1000, 10**6):
            detections(boxes, scores, DIoUNMS(score_threshold=0.1, pre_nms_top_k=limit, max_detections=10**6))

    def test_tensors_of_others_are_taken(self) -> None:
        boxes, scores = torch.tensor([[0.0, 0, 10, 10]]).repeat(3, 1), torch.tensor([[0.5], [0.9], [0.7]])
        kept, score, _ = native.diou_nms(boxes, scores, DIoUNMS())
        assert (kept.tolist(), score.tolist()) == ([[0, 0, 10, 10]], [np.float32(0.9)])

    def test_arrays_in_any_order_and_type_are_taken(self) -> None:
        rng = np.random.default_rng(0)
        boxes, scores = rng.random((4, 50)).T * 30, rng.random((3, 50)).T
        expected = native.diou_nms(
            np.ascontiguousarray(boxes, np.float32), np.ascontiguousarray(scores, np.float32), DIoUNMS()
        )
        for found, wanted in zip(native.diou_nms(boxes, scores, DIoUNMS()), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)

    @pytest.mark.parametrize("shapes", [((3, 4), (2, 1)), ((3, 5), (3, 1)), ((3, 4), (3,))])
    def test_shapes_that_do_not_fit_are_refused(self, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
        boxes, scores = (np.zeros(shape, np.float32) for shape in shapes)
        with pytest.raises((TypeError, ValueError)):
            native.diou_nms(boxes, scores, DIoUNMS())

    def test_other_threads_run_meanwhile(self) -> None:
        """A second call starts before the first, which takes seconds, is done."""
        rng = np.random.default_rng(0)
        corners = rng.random((60_000, 2), np.float32) * 1e5
        boxes, scores = np.concatenate([corners, corners + 1], axis=1), rng.random((60_000, 1), np.float32) + 0.5
        slow = threading.Thread(target=native.diou_nms, args=(boxes, scores, DIoUNMS(**EVERYTHING)))
        slow.start()
        native.diou_nms(boxes[:100], scores[:100], DIoUNMS())
        assert slow.is_alive()
        slow.join()


@pytest.mark.parametrize(
    ("name", "value"),
    [("score_threshold", -0.1), ("iou_threshold", 1.1), ("beta", 0.0), ("beta", math.nan), ("max_detections", 0)],
)
def test_attributes_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(EdgedetError, match=f"takes no {name} of {value}"):
        DIoUNMS(**{name: value})


class TestFunctionBody:
    """What `detections` does not look at."""

    def scenes(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        corners = rng.random((3, 40, 2), np.float32) * 60
        boxes = np.concatenate([corners, corners + rng.random((3, 40, 2), np.float32) * 30], axis=2)
        scores = rng.random((3, 40, 2), np.float32)
        scores[1] = 0  # nothing in the second image
        scores[2] *= rng.random((40, 2)) < 0.2
        return boxes, scores

    @pytest.mark.parametrize("run", [in_onnx_runtime, in_onnx_reference, in_pytorch])
    @pytest.mark.parametrize(("top_k", "limit"), [(1000, 300), (20, 5), (5, 20)])
    def test_images_of_a_batch_do_not_meet(self, run: Callable[..., Any], top_k: int, limit: int) -> None:
        boxes, scores = self.scenes()
        attributes = DIoUNMS(iou_threshold=0.3, pre_nms_top_k=top_k, max_detections=limit)
        num_dets, det_boxes, det_scores, det_classes = run(boxes, scores, attributes)
        assert num_dets[0, 0] > 3 and num_dets[1, 0] == 0 and num_dets[2, 0] > 3
        for image, count in enumerate(num_dets[:, 0]):
            expected = reference.diou_nms(boxes[image], scores[image], attributes)
            np.testing.assert_array_equal(det_boxes[image, :count], expected[0])
            np.testing.assert_array_equal(det_scores[image, :count], expected[1])
            np.testing.assert_array_equal(det_classes[image, :count], expected[2])
            assert (det_classes[image, count:] == -1).all()

    def test_float16(self) -> None:
        boxes, scores = (array.astype(np.float16) for array in self.scenes())
        attributes = DIoUNMS(iou_threshold=0.3)
        num_dets, det_boxes, det_scores, det_classes = in_onnx_runtime(boxes, scores, attributes)
        assert det_boxes.dtype == det_scores.dtype == np.float16
        for image, count in enumerate(num_dets[:, 0]):
            expected = reference.diou_nms(boxes[image].astype(np.float32), scores[image].astype(np.float32), attributes)
            np.testing.assert_array_equal(det_boxes[image, :count], expected[0])
            np.testing.assert_array_equal(det_scores[image, :count], expected[1])
            np.testing.assert_array_equal(det_classes[image, :count], expected[2])

    @pytest.mark.parametrize("run", [in_onnx_runtime, in_onnx_reference, in_pytorch])
    def test_a_float16_score_is_compared_with_the_threshold_itself(self, run: Callable[..., Any]) -> None:
        """The float16 next to 0.3 is above it."""
        boxes, scores = np.array([[[0, 0, 9, 9]]], np.float16), np.array([[[0.3]]], np.float16)
        assert scores[0, 0, 0] > np.float32(0.3)
        num_dets, *_ = run(boxes, scores, DIoUNMS(score_threshold=0.3))
        assert num_dets[0, 0] == 1

    def test_a_chain_of_any_length_is_decided(self) -> None:
        boxes = np.array([[3 * i, 0, 3 * i + 10, 10] for i in range(300)], np.float32)
        scores = np.linspace(0.9, 0.3, 300, dtype=np.float32)[:, None]
        kept, _, _ = detections(boxes, scores, DIoUNMS(iou_threshold=0.5))
        np.testing.assert_array_equal(kept, boxes[::2])

    @pytest.mark.parametrize("opset", [18, 21])
    def test_in_a_later_opset(self, opset: int) -> None:
        boxes, scores = self.scenes()
        attributes = DIoUNMS(iou_threshold=0.3)
        content = model(attributes, opset=opset).SerializeToString()
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        found = session.run(None, {"boxes": boxes, "scores": scores})
        for one, other in zip(found, in_onnx_runtime(boxes, scores, attributes), strict=True):
            np.testing.assert_array_equal(np.asarray(one), other)
