from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgedet.data.synth import synthesize
from edgedet.errors import CheckFailedError, EdgedetError
from edgedet.graph.verify import (
    FLOAT_TOLERANCE,
    Agreement,
    Images,
    compare,
    require_agreement,
    verification_images,
)
from edgedet.runtime.backend import TensorInfo
from edgedet.runtime.detector import Detector
from edgedet.spec import Preprocess, Spec

SPEC = Spec(model="stub", class_names=("a",), strides=(32,), preprocess=Preprocess(height=32, width=32))
PICTURES = Images("pictures", tuple(np.full((20, 30, 3), value, np.uint8) for value in range(8)))


class Stub:
    """A backend whose single box and score follow from the image, moved by an offset."""

    name = "stub"
    outputs: tuple[TensorInfo, ...] = ()

    def __init__(self, offset: float = 0.0, batch: int | None = 1, points: int = 1) -> None:
        self.inputs = (TensorInfo("images", (batch, 3, 32, 32), np.dtype(np.float32)),)
        self.offset, self.points = offset, points
        self.batches: list[int] = []

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        images = feeds["images"]
        self.batches.append(len(images))
        means = images.mean(axis=(1, 2, 3), dtype=np.float64) + self.offset
        rows = np.repeat(means[:, None], self.points, axis=1)
        return {
            "boxes": np.repeat(rows[..., None], 4, axis=2).astype(np.float32),
            "scores": rows[..., None].astype(np.float32),
        }


def agreement(**options: Any) -> Agreement:
    return compare(Detector(Stub(batch=None), SPEC), Detector(Stub(**options), SPEC), PICTURES)


def test_the_largest_differences_are_found() -> None:
    assert agreement() == Agreement("pictures", 8, 0.0, 0.0)
    found = agreement(offset=0.25)
    assert (found.box_error, found.score_error) == pytest.approx((0.25, 0.25), rel=1e-5)


@pytest.mark.parametrize(("batch", "batches"), [(1, [1] * 8), (3, [3, 3, 3]), (None, [1, 3, 1, 3])])
def test_the_files_batch_is_filled(batch: int | None, batches: list[int]) -> None:
    exported = Stub(batch=batch)
    compare(Detector(Stub(batch=None), SPEC), Detector(exported, SPEC), PICTURES)
    assert exported.batches == batches


@pytest.mark.parametrize(
    ("options", "message"),
    [({"points": 2}, "not \\[1, 1, 4\\]"), ({"offset": np.nan}, "not finite"), ({"offset": np.inf}, "not finite")],
)
def test_outputs_that_cannot_be_compared(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckFailedError, match=message):
        agreement(**options)


def test_the_tolerances_are_held() -> None:
    require_agreement(Agreement("pictures", 8, FLOAT_TOLERANCE.box, FLOAT_TOLERANCE.score))
    for errors in ((FLOAT_TOLERANCE.box * 1.01, 0.0), (0.0, FLOAT_TOLERANCE.score * 1.01)):
        with pytest.raises(CheckFailedError, match="8 images"):
            require_agreement(Agreement("pictures", 8, *errors))


def test_generated_images_are_the_same_every_time_and_of_several_shapes() -> None:
    first, second = verification_images(None), verification_images(None)
    assert first.source == "generated images"
    assert len({image.shape for image in first.images}) > 3
    assert all(np.array_equal(a, b) for a, b in zip(first.images, second.images, strict=True))
    assert all(image.std() > 5 for image in first.images)


def test_images_of_a_dataset(tmp_path: Path) -> None:
    synthesize(tmp_path / "data", images=20, size=64, classes=2)
    images = verification_images(tmp_path / "data")
    assert 0 < len(images.images) <= 8
    assert images.source == f"val of {tmp_path / 'data'}"


def test_one_image(tmp_path: Path) -> None:
    picture = np.arange(8 * 9 * 3, dtype=np.uint8).reshape(8, 9, 3)
    cv2.imwrite(str(tmp_path / "one.png"), picture)
    images = verification_images(tmp_path / "one.png")
    assert images.source == "one.png"
    np.testing.assert_array_equal(images.images[0], picture)


def test_no_image_to_compare_on(tmp_path: Path) -> None:
    with pytest.raises(EdgedetError, match="no dataset"):
        verification_images(tmp_path)
    with pytest.raises(EdgedetError, match="cannot read"):
        verification_images(tmp_path / "nosuch.jpg")
