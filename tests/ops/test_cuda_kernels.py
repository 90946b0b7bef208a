"""The CUDA kernels' own sources, run on the host: what `tests/nms_implementations.py` does not reach.

It holds them, with all other implementations, to the reference on every input of tests/ops/test_diou_nms.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cuda_on_host
import numpy as np
import pytest
from cuda_on_host import GUARD_BYTES, kernels, poisoned

from edgedet.errors import EdgedetError
from edgedet.ops.cuda import CudaKernels, NMSProblem
from edgedet.ops.diou_nms import DIoUNMS, reference
from edgedet.ops.mish.reference import mish as exact_mish

pytestmark = pytest.mark.skipif(
    not cuda_on_host.LIBRARY.exists(), reason=f"{cuda_on_host.LIBRARY.name} is not built: make operators"
)


def scene(seed: int, images: int, boxes: int, classes: int, steps: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Boxes that overlap much; scores of `steps` values only, or of any."""
    rng = np.random.default_rng(seed)
    corners = rng.random((images, boxes, 2), np.float32) * 200
    sides = rng.random((images, boxes, 2), np.float32) * 60
    scores = rng.random((images, boxes, classes), np.float32)
    if steps:
        scores = np.rint(scores * steps) / steps
    return np.concatenate([corners, corners + sides], axis=2), scores.astype(np.float32)


def require_reference(boxes: np.ndarray, scores: np.ndarray, attributes: DIoUNMS) -> np.ndarray:
    """Holds a batch to the reference, image by image; the numbers of detections."""
    num_dets, det_boxes, det_scores, det_classes = cuda_on_host.diou_nms(boxes, scores, attributes)
    for image, count in enumerate(num_dets[:, 0]):
        expected = reference.diou_nms(boxes[image].astype(np.float32), scores[image].astype(np.float32), attributes)
        np.testing.assert_array_equal(det_boxes[image, :count], expected[0])
        np.testing.assert_array_equal(det_scores[image, :count], expected[1])
        np.testing.assert_array_equal(det_classes[image, :count], expected[2])
        assert not det_boxes[image, count:].any() and not det_scores[image, count:].any()
        assert (det_classes[image, count:] == -1).all()
    return num_dets[:, 0]


class TestDIoUNMS:
    @pytest.mark.parametrize("agnostic", [False, True])
    @pytest.mark.parametrize("score_type", [np.float32, np.float16])
    @pytest.mark.parametrize("box_type", [np.float32, np.float16])
    def test_a_batch_of_any_types(self, box_type: type, score_type: type, agnostic: bool) -> None:
        boxes, scores = scene(0, 3, 700, 4)
        scores[1] = 0  # nothing in the second image
        attributes = DIoUNMS(0.3, 0.4, pre_nms_top_k=900, max_detections=200, class_agnostic=agnostic)
        counts = require_reference(boxes.astype(box_type), scores.astype(score_type), attributes)
        assert counts[0] > 50 and counts[1] == 0 and counts[2] > 50

    def test_more_candidates_than_the_list_holds(self) -> None:
        """They are found anew, digit by digit, among all scores."""
        boxes, scores = scene(1, 2, 1500, 20)
        scores[1] *= 0.3  # the second image's fit
        assert (scores[0] > 0.1).sum() > 16384 > (scores[1] > 0.25).sum() > 1000
        require_reference(boxes, scores, DIoUNMS(score_threshold=0.25, pre_nms_top_k=700))
        require_reference(boxes, scores, DIoUNMS(score_threshold=0.1, pre_nms_top_k=700))

    @pytest.mark.parametrize("steps", [1, 2, 7, 1000])
    @pytest.mark.parametrize("top_k", [1, 31, 32, 33, 999])
    def test_of_equal_scores_the_first_are_selected(self, steps: int, top_k: int) -> None:
        boxes, scores = scene(2, 1, 1100, 3, steps)
        require_reference(boxes, scores, DIoUNMS(score_threshold=0.0, iou_threshold=0.9, pre_nms_top_k=top_k))

    def test_scores_that_differ_in_their_last_bit_alone(self) -> None:
        boxes, _ = scene(3, 1, 3000, 1)
        order = np.random.default_rng(3).permutation(3000).astype(np.int32)
        scores = (np.float32(0.5).view(np.int32) + order).view(np.float32).reshape(1, 3000, 1)
        require_reference(boxes, scores, DIoUNMS(pre_nms_top_k=1234, max_detections=2000, iou_threshold=0.8))

    @pytest.mark.parametrize("top_k", [2048, 2049, 5000])
    def test_more_than_is_sorted_in_shared_memory(self, top_k: int) -> None:
        boxes, scores = scene(4, 1, 6000, 1)
        counts = require_reference(boxes, scores, DIoUNMS(0.0, 0.7, pre_nms_top_k=top_k, max_detections=6000))
        assert counts[0] > 1000

    def test_scores_above_one_and_infinite_ones(self) -> None:
        boxes, scores = scene(5, 1, 500, 2)
        scores = scores * 1e30
        scores[0, ::7] = np.inf
        scores[0, ::11] = np.nan
        scores[0, ::13] = -np.inf
        require_reference(boxes, scores, DIoUNMS(pre_nms_top_k=100))

    @pytest.mark.parametrize(("boxes", "classes"), [(0, 3), (5, 0), (0, 0), (1, 1)])
    def test_nothing_or_next_to_nothing(self, boxes: int, classes: int) -> None:
        require_reference(*scene(6, 2, boxes, classes), DIoUNMS())

    def test_no_image(self) -> None:
        outputs = cuda_on_host.diou_nms(*scene(7, 0, 5, 3), DIoUNMS())
        assert [len(output) for output in outputs] == [0, 0, 0, 0]

    def test_the_workspace_is_bounded_and_does_not_grow_with_the_scores(self) -> None:
        def workspace(images: int, boxes: int, classes: int, top_k: int) -> int:
            return kernels().workspace_bytes(NMSProblem(images, boxes, classes, DIoUNMS(pre_nms_top_k=top_k)))

        assert workspace(1, 8400, 80, 1000) == workspace(1, 84_000, 80, 1000) < 300_000
        assert workspace(16, 8400, 80, 1000) < 16 * 300_000
        assert workspace(1, 84_000, 80, 16_384) < 40e6

    @pytest.mark.parametrize(
        ("problem", "taken"),
        [
            (NMSProblem(1, 20_000, 1, DIoUNMS(pre_nms_top_k=20_000)), "pre_nms_top_k of 16384 or less"),
            (NMSProblem(65_536, 1, 1, DIoUNMS()), "65535 images or fewer"),
            (NMSProblem(1, 2**31, 2, DIoUNMS()), r"fewer than 2\^32 pairs"),
            (NMSProblem(1, -1, 2, DIoUNMS()), "sizes that are not negative"),
            (NMSProblem(1, 5, 2, DIoUNMS(max_detections=2**31)), r"max_detections below 2\^31"),
        ],
    )
    def test_what_is_beyond_the_kernels_is_refused(self, problem: NMSProblem, taken: str) -> None:
        with pytest.raises(EdgedetError, match=f"by CUDA takes {taken}"):
            kernels().workspace_bytes(problem)
        with pytest.raises(EdgedetError, match="did not start a kernel: invalid argument"):
            kernels().diou_nms(problem, 0, 0, (0, 0, 0, 0), 0, 0)

    def test_many_more_asked_for_than_there_are_is_no_limit(self) -> None:
        require_reference(*scene(8, 1, 300, 1), DIoUNMS(pre_nms_top_k=10**6))


def test_the_order_of_threads_changes_nothing() -> None:
    """Between two barriers another thread comes first with each seed: what races would come out differently."""
    tests = [
        f"{__file__}::{TestDIoUNMS.__name__}::{name}"
        for name in (
            TestDIoUNMS.test_more_candidates_than_the_list_holds.__name__,
            TestDIoUNMS.test_scores_that_differ_in_their_last_bit_alone.__name__,
        )
    ]
    for seed in ("1", "2", "3"):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
            env=os.environ | {"EDGEDET_CUDA_ON_HOST_SEED": seed},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


class TestMish:
    def run(self, values: np.ndarray) -> np.ndarray:
        """Values of poison behind the last must stay."""
        room = poisoned((len(values) + GUARD_BYTES,), values.dtype)
        kernels().mish(values.dtype.name, values.ctypes.data, room.ctypes.data, len(values), 0)
        assert (room[len(values) :].view(np.uint8) == cuda_on_host.POISON).all()
        return room[: len(values)]

    @pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 1023, 70_001])
    def test_float32_within_a_few_units_in_the_last_place(self, count: int) -> None:
        values = np.linspace(-90, 40, count, dtype=np.float32)
        expected = exact_mish(values)
        np.testing.assert_allclose(self.run(values), expected, rtol=5 * np.finfo(np.float32).eps, atol=1e-37)

    def test_every_float16(self) -> None:
        values = np.arange(2**16, dtype=np.uint16).view(np.float16)
        finite = np.isfinite(values)
        found, expected = self.run(values)[finite], exact_mish(values[finite])
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found, expected, rtol=2**-10, atol=2**-24)

    def test_the_ends_of_float32(self) -> None:
        ends = np.array([-np.finfo(np.float32).max, -1e10, -0.0, 0.0, np.finfo(np.float32).max], np.float32)
        np.testing.assert_array_equal(self.run(ends), [0, 0, 0, 0, ends[-1]])

    @pytest.mark.parametrize(("input_scale", "output_scale"), [(0.05, 0.05), (0.1, 0.02), (3.0, 1.0), (1e-3, 5.0)])
    def test_every_int8(self, input_scale: float, output_scale: float) -> None:
        values = np.arange(-128, 128).astype(np.int8).repeat(3)
        steps = exact_mish(values * np.float64(np.float32(input_scale))) / np.float32(output_scale)
        found = poisoned(values.shape, np.int8)
        scales = {"input_scale": input_scale, "output_scale": output_scale}
        kernels().mish_int8(values.ctypes.data, found.ctypes.data, len(values), **scales, stream=0)
        np.testing.assert_array_equal(found, np.clip(np.rint(steps), -128, 127))

    def test_an_address_that_is_not_aligned_is_refused(self) -> None:
        values = np.zeros(64, np.float32)
        with pytest.raises(EdgedetError, match="did not start a kernel: invalid argument"):
            kernels().mish("float32", values.ctypes.data + 4, values.ctypes.data, 8, 0)


def test_another_library_is_refused(tmp_path: Path) -> None:
    path = Path(subprocess.check_output(["gcc", "-print-file-name=libm.so.6"], text=True).strip())
    with pytest.raises(EdgedetError, match="no CUDA kernels of edgedet"):
        CudaKernels(path)
    with pytest.raises(EdgedetError, match="no such library"):
        CudaKernels(tmp_path / "none.so")
