"""What the network sees: recipes from files, images as training makes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgedet.data.augment.config import AugmentConfig
from edgedet.data.find import read_dataset, split_of
from edgedet.data.image_cache import CacheSizes
from edgedet.data.sample import Sample
from edgedet.errors import EdgedetError
from edgedet.train.config import TrainConfig
from edgedet.train.loader import TrainingSet
from edgedet.train.plan import BatchPlan, SampleKey
from edgedet.train.preview import augmented_images, read_recipe


@pytest.fixture(scope="module")
def samples(tiny_data: Path) -> tuple[Sample, ...]:
    return split_of(read_dataset(tiny_data), "train")


def written(folder: Path, text: str) -> str:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_default_recipe_is_that_of_training() -> None:
    assert read_recipe("default").augment == AugmentConfig()


@pytest.mark.parametrize("text", ["imgsz: 96\naugment: {mixup: 0.5}\n", "augment: {mixup: 0.5}\nimgsz: 96\ndata: x\n"])
def test_a_recipe_may_be_the_settings_of_a_training_run(text: str, tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, text))
    assert recipe.imgsz == 96
    assert recipe.augment == AugmentConfig(mixup=0.5)


def test_a_recipe_may_be_the_augmentation_alone(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, "mosaic: 0\ncutmix: 1\n"))
    assert recipe.augment == AugmentConfig(mosaic=0, cutmix=1)
    assert recipe.imgsz == TrainConfig(data="").imgsz


def test_the_input_may_have_another_size(tmp_path: Path) -> None:
    assert read_recipe("default", 96).imgsz == 96
    assert read_recipe(written(tmp_path, "imgsz: 64\naugment: {mixup: 0.5}\n"), 96).imgsz == 96


def test_an_input_that_no_detector_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgedetError, match="100 is not a multiple of 32"):
        read_recipe("default", 100)
    with pytest.raises(EdgedetError, match="100 is not a multiple of 32"):
        read_recipe(written(tmp_path, "imgsz: 100\n"))


@pytest.mark.parametrize(("text", "fix"), [("mosiac: 1\n", "mosaic"), ("imgsz: 64\naugment: {mixp: 1}\n", "mixup")])
def test_an_unknown_setting_is_refused_by_name(text: str, fix: str, tmp_path: Path) -> None:
    with pytest.raises(EdgedetError) as caught:
        read_recipe(written(tmp_path, text))
    assert caught.value.where is not None and caught.value.where.endswith("recipe.yaml")
    assert fix in str(caught.value.fix)


def test_images_are_those_that_training_makes(samples: tuple[Sample, ...]) -> None:
    recipe = TrainConfig(data="", imgsz=64)
    drawn = augmented_images(samples, recipe, count=2, draws=3, seed=5)
    assert [name for name, _ in drawn] == [samples[0].image.name] * 3 + [samples[-1].image.name] * 3
    plan = BatchPlan(len(samples), recipe.batch, 3, 5, 64)
    dataset = TrainingSet(samples, recipe.augment, plan, mosaic_epochs=3, max_size=64, cache=CacheSizes(0, 0))
    _, expected = dataset[SampleKey(2, 0, 0, 64)]
    np.testing.assert_array_equal(drawn[2][1].image, expected.image)
    np.testing.assert_array_equal(drawn[2][1].boxes, expected.boxes)
    assert len({item.image.tobytes() for _, item in drawn}) == 6


def test_no_more_are_drawn_than_a_sheet_has_room_for(samples: tuple[Sample, ...]) -> None:
    with pytest.raises(EdgedetError, match="10 times 21"):
        augmented_images(samples, TrainConfig(data=""), count=50, draws=21, seed=0)
