"""The loader: the same batches whoever loads them, and nothing on disk ends a run."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edgedet.data.augment.config import AugmentConfig
from edgedet.data.augment.labelled import LabelledImage
from edgedet.data.find import read_dataset, split_of
from edgedet.data.image_cache import CacheSizes
from edgedet.data.images import read_image
from edgedet.data.sample import Sample
from edgedet.train.loader import Batch, TrainingSet, load_for_training, make_loader
from edgedet.train.plan import BatchPlan, SampleKey


@pytest.fixture(scope="module")
def samples(tiny_data: Path) -> tuple[Sample, ...]:
    return split_of(read_dataset(tiny_data), "train")


CACHED, UNCACHED = CacheSizes(1 << 24, 0), CacheSizes(0, 0)
EVERYTHING = AugmentConfig(
    mosaic=0.5,
    split=0.5,
    mixup=0.5,
    cutmix=0.5,
    rotate=20,
    shear=10,
    colour_operation=0.5,
    gridmask=1,
    scale_aware=True,
)


def batches(
    samples: tuple[Sample, ...],
    config: AugmentConfig = AugmentConfig(),  # noqa: B008 (frozen)
    *,
    workers: int = 0,
    first_step: int = 0,
    cache: CacheSizes = CACHED,
    seed: int = 0,
) -> list[Batch]:
    plan = BatchPlan(len(samples), 4, 2, seed, 64, multi_scale=0.5)
    dataset = TrainingSet(samples, config, plan, mosaic_epochs=1, max_size=96, cache=cache)
    return list(make_loader(dataset, plan, first_step, workers=workers, pin_memory=False))


def assert_same(first: Iterable[Batch], second: Iterable[Batch]) -> None:
    for a, b in zip(first, second, strict=True):
        assert a.keys == b.keys
        assert torch.equal(a.images, b.images)
        for one, other in zip(a.targets, b.targets, strict=True):
            assert torch.equal(one.boxes, other.boxes)
            assert torch.equal(one.labels, other.labels)
            assert torch.equal(one.shares, other.shares)


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_gives_the_same_batches(samples: tuple[Sample, ...], workers: int) -> None:
    assert_same(batches(samples), batches(samples, workers=workers))


def test_any_number_of_workers_gives_the_same_batches_with_every_option(samples: tuple[Sample, ...]) -> None:
    assert_same(batches(samples, EVERYTHING), batches(samples, EVERYTHING, workers=2))


def test_weights_of_mixed_objects_reach_the_targets(samples: tuple[Sample, ...]) -> None:
    mixed = batches(samples, AugmentConfig(mosaic=0, mixup=1))
    steps = len(mixed) // 2
    for batch in mixed[:steps]:
        for target in batch.targets:
            assert target.weights is not None and target.weights.dtype == torch.float32
            assert len(target.weights) == len(target.boxes)
    # The last epoch sees single images.
    assert all(target.weights is None for batch in mixed[steps:] for target in batch.targets)


def test_the_files_of_a_key_are_those_that_are_read(
    samples: tuple[Sample, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def load(sample: Sample, max_size: int) -> LabelledImage:
        read.append(sample.image)
        return load_for_training(sample, max_size)

    monkeypatch.setattr("edgedet.train.loader.load_for_training", load)
    plan = BatchPlan(len(samples), 4, 2, 0, 64)
    dataset = TrainingSet(samples, EVERYTHING, plan, mosaic_epochs=1, max_size=64, cache=UNCACHED)
    for position in range(12):
        read.clear()
        key = SampleKey(0, position, position % len(samples), 64)
        dataset[key]
        assert dataset.images(key) == read


def test_batches_from_a_later_step_are_the_rest_of_the_batches(samples: tuple[Sample, ...]) -> None:
    assert_same(batches(samples)[4:], batches(samples, first_step=4))


class TestManySamples:
    """So many that partners come from a part of them: two lanes, in epochs of 150 steps."""

    def test_workers_and_a_resumed_run_give_the_same_batches(self, samples: tuple[Sample, ...]) -> None:
        whole = batches(samples * 60)
        assert_same(whole[95:], batches(samples * 60, workers=2, first_step=95, cache=CacheSizes(0, 1 << 20)))

    def test_each_image_is_decoded_once_an_epoch_with_a_cache_of_the_latest(
        self, samples: tuple[Sample, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read: list[Path] = []

        def load(sample: Sample, max_size: int) -> LabelledImage:
            read.append(sample.image)
            return load_for_training(sample, max_size)

        monkeypatch.setattr("edgedet.train.loader.load_for_training", load)
        lanes, images, image_bytes = 2, 80, 3 * 64**2
        batches(samples * 60, cache=CacheSizes(0, lanes * images * image_bytes))
        # Of two epochs, of which the second sees single images. An epoch begins with images of which some return later.
        assert len(read) <= 2 * 600 * 1.05


def test_the_cache_changes_nothing(samples: tuple[Sample, ...]) -> None:
    assert_same(batches(samples), batches(samples, cache=UNCACHED))


def test_another_seed_gives_other_batches(samples: tuple[Sample, ...]) -> None:
    first, other = batches(samples)[0], batches(samples, seed=1)[0]
    assert first.images.shape != other.images.shape or not torch.equal(first.images, other.images)


def test_boxes_stay_inside_the_image(samples: tuple[Sample, ...]) -> None:
    seen = 0
    for batch in batches(samples):
        side = batch.images.shape[1]
        for target in batch.targets:
            assert target.boxes.dtype == torch.float32
            assert (target.boxes >= 0).all() and (target.boxes <= side).all()
            assert (target.boxes[:, 2:] > target.boxes[:, :2]).all()
            seen += len(target.boxes)
    assert seen > 20


def test_without_augmentation_an_image_is_its_letterbox_in_the_middle(samples: tuple[Sample, ...]) -> None:
    still = AugmentConfig(mosaic=0, flip_horizontal=0, scale=0, translate=0, hue=0, saturation=0, brightness=0)
    plan = BatchPlan(len(samples), 4, 2, 0, 64)
    dataset = TrainingSet(samples, still, plan, mosaic_epochs=0, max_size=64, cache=UNCACHED)
    _, labelled = dataset[SampleKey(0, 0, 3, 64)]
    np.testing.assert_array_equal(labelled.image, read_image(samples[3].image))
    np.testing.assert_allclose(labelled.boxes, samples[3].boxes, atol=1e-4)


def test_a_large_image_is_kept_small_with_its_boxes(samples: tuple[Sample, ...]) -> None:
    labelled = load_for_training(samples[0], 32)
    assert labelled.image.shape == (32, 32, 3)
    np.testing.assert_allclose(labelled.boxes, samples[0].boxes / 2)


@pytest.mark.parametrize(
    ("max_size", "shape"), [(64, (48, 64, 3)), (50, (38, 50, 3)), (32, (24, 32, 3)), (10, (8, 10, 3))]
)
def test_boxes_lie_on_what_they_lay_on_in_a_large_photo(
    samples: tuple[Sample, ...], tmp_path: Path, max_size: int, shape: tuple[int, ...]
) -> None:
    photo = np.zeros((97, 129, 3), dtype=np.uint8)
    photo[24:64, 48:96] = 255
    path = tmp_path / "photo.jpg"
    cv2.imwrite(str(path), photo, [cv2.IMWRITE_JPEG_QUALITY, 98])
    box = np.array([[48, 24, 96, 64]], dtype=np.float32)
    sample = replace(samples[0], image=path, boxes=box, labels=np.zeros(1, np.int64), ignore=np.zeros(1, np.bool_))
    labelled = load_for_training(sample, max_size)
    assert labelled.image.shape == shape
    bright = labelled.image[..., 0] > 127
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    seen = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    np.testing.assert_allclose(labelled.boxes[0], seen, atol=0.6)


def test_ignored_objects_are_not_learned(samples: tuple[Sample, ...]) -> None:
    ignored = replace(samples[0], ignore=np.ones(len(samples[0].boxes), dtype=np.bool_))
    assert len(samples[0].boxes) > 0
    assert len(load_for_training(ignored, 64).boxes) == 0


def test_a_broken_image_becomes_background_and_a_warning(
    samples: tuple[Sample, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(samples[0].image.read_bytes()[:200])
    with caplog.at_level(logging.WARNING):
        labelled = load_for_training(replace(samples[0], image=broken), 64)
    assert len(labelled.boxes) == 0
    assert (labelled.image == 114).all()
    assert "broken.jpg" in caplog.text
