"""The whole pipeline with its options: off they change nothing, on they keep what training relies on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from edgedet.data.augment.config import AugmentConfig
from edgedet.data.augment.labelled import LabelledImage
from edgedet.data.augment.pipeline import augment, draw_sources

STILL = AugmentConfig(mosaic=0, flip_horizontal=0, scale=0, translate=0, hue=0, saturation=0, brightness=0)
SEEDS = st.integers(0, 10_000)
OPTIONS: dict[str, Any] = {
    "split": 1.0,
    "mixup": 1.0,
    "cutmix": 1.0,
    "rotate": 45.0,
    "shear": 20.0,
    "colour_operation": 1.0,
    "cutout": 1.0,
    "random_erasing": 1.0,
    "gridmask": 1.0,
    "scale_aware": True,
}


def noise(seed: int, side: int = 64) -> LabelledImage:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, side / 2, (5, 2))
    boxes = np.concatenate([low, low + rng.uniform(6, side / 2, (5, 2))], axis=1).astype(np.float32)
    image = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
    return LabelledImage(image, boxes, rng.integers(0, 3, 5))


def same(first: LabelledImage, second: LabelledImage) -> bool:
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in ("image", "boxes", "labels"))


def test_what_is_off_is_the_identity() -> None:
    sample = noise(0)
    result = augment(lambda _: sample, range(1), 0, 64, STILL, np.random.default_rng(0))
    assert same(result, sample)
    assert result.weights is None


@pytest.mark.parametrize(("name", "value"), OPTIONS.items())
def test_what_is_on_changes_the_image(name: str, value: float | bool) -> None:
    config = STILL.model_copy(update={name: value})
    drawn = [augment(noise, range(9), 0, 64, config, np.random.default_rng(seed)) for seed in range(8)]
    assert any(not same(result, noise(0)) for result in drawn)


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("split", 24),
        ("mixup", 24),
        ("cutmix", 24),
        ("colour_operation", 24),
        ("cutout", 24),
        ("random_erasing", 24),
        ("gridmask", 24),
    ],
)
def test_probabilities_are_kept(name: str, side: int) -> None:
    rng = np.random.default_rng(0)
    config = STILL.model_copy(update={name: 0.3})
    sample, other = noise(0, side), noise(1, side)
    changed = [
        not same(augment(lambda index: (sample, other)[min(index, 1)], range(99), 0, side, config, rng), sample)
        for _ in range(300)
    ]
    # One colour operation in nine is the identity, autocontrast of full contrast another; a rectangle may be empty.
    assert 0.3 * 0.55 < np.mean(changed) < 0.3 * 1.25


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_settings_without_the_new_options_draw_what_they_always_drew(mosaic: float) -> None:
    rng, expected = np.random.default_rng(7), np.random.default_rng(7)
    augment(noise, range(9), 0, 64, AugmentConfig(mosaic=mosaic), rng)
    expected.random()
    if mosaic:
        expected.integers(9, size=3)
        expected.uniform(0.5 * 64, 1.5 * 64, size=2)
    expected.uniform(0.5, 1.5)
    expected.uniform(1, 1)
    expected.uniform(0.4, 0.6, size=2)
    expected.random(size=2)
    expected.uniform(-1, 1, size=3)
    assert rng.bit_generator.state == expected.bit_generator.state


@given(SEEDS, st.lists(st.sampled_from(sorted(OPTIONS)), unique=True), st.sampled_from([0.0, 1.0]))
@settings(max_examples=60)
def test_boxes_of_any_settings_lie_in_the_canvas_and_are_of_some_size(
    seed: int, names: list[str], mosaic: float
) -> None:
    config = AugmentConfig(mosaic=mosaic).model_copy(update={name: OPTIONS[name] for name in names})
    result = augment(noise, range(9), seed % 9, 48, config, np.random.default_rng(seed))
    assert result.image.shape == (48, 48, 3)
    assert result.image.dtype == np.uint8
    assert result.boxes.shape == (len(result.labels), 4)
    assert result.boxes.dtype == np.float32
    assert (result.boxes >= 0).all() and (result.boxes <= 48).all()
    assert (result.boxes[:, 2:] - result.boxes[:, :2] > 2).all()
    assert (result.weights is not None) == ("mixup" in names)
    if result.weights is not None:
        assert result.weights.shape == (len(result.labels),)
        assert (result.weights >= 0).all() and (result.weights <= 1).all()
        assert len(set(result.weights.tolist())) <= 2


@given(SEEDS, st.sampled_from([0.0, 0.5, 1.0]))
@settings(max_examples=40)
def test_the_sources_are_the_samples_that_are_loaded(seed: int, mosaic: float) -> None:
    config = AugmentConfig(mosaic=mosaic, split=0.5, mixup=0.5, cutmix=0.5)
    asked: list[int] = []

    def load(index: int) -> LabelledImage:
        asked.append(index)
        return noise(index)

    augment(load, range(30), 4, 32, config, np.random.default_rng(seed))
    drawn = draw_sources(range(30), 4, config, np.random.default_rng(seed))
    assert tuple(asked) == drawn.samples
    assert drawn.base[0] == 4
    assert {len(part) for part in (drawn.base, drawn.pasted, drawn.mixed)} <= {0, 1, 2, 4}


@pytest.mark.parametrize("min_visible", [0.0, 0.5, 0.9])
def test_objects_stay_by_the_share_of_them_that_cutmix_leaves(min_visible: float) -> None:
    box = np.array([[8, 8, 56, 56]], dtype=np.float32)
    samples = [LabelledImage(np.full((64, 64, 3), level, np.uint8), box, np.array([level])) for level in (10, 200)]
    config = STILL.model_copy(update={"cutmix": 1.0, "cutmix_visible": min_visible})
    kept = 0
    for seed in range(60):
        order = iter(samples)
        result = augment(lambda _, order=order: next(order), range(2), 0, 64, config, np.random.default_rng(seed))
        shares = {level: (result.image[8:56, 8:56, 0] == level).mean() for level in (10, 200)}
        kept += len(result.labels)
        # A tenth is the least that is worth learning at all.
        assert set(result.labels.tolist()) == {
            level for level, share in shares.items() if share > max(min_visible, 0.1)
        }
    assert kept > 10


def test_images_are_not_joined_in_settings_of_single_images() -> None:
    config = AugmentConfig(split=1.0, mixup=1.0, cutmix=1.0, rotate=10.0).of_single_images()
    assert draw_sources(range(9), 3, config, np.random.default_rng(0)).samples == (3,)
    assert config.rotate == 10.0


@pytest.mark.parametrize("name", ["split", "mixup", "cutmix", "scale_aware", "random_erasing"])
def test_loaded_images_may_be_used_again(name: str) -> None:
    samples = [noise(seed) for seed in range(4)]
    config = AugmentConfig(mosaic=0).model_copy(update={name: OPTIONS[name]})
    for seed in range(6):
        augment(samples.__getitem__, range(4), 0, 64, config, np.random.default_rng(seed))
    for seed, sample in enumerate(samples):
        assert_array_equal(sample.image, noise(seed).image)
        assert_array_equal(sample.boxes, noise(seed).boxes)
