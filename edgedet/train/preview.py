"""What the network sees of a dataset, before any training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgedet.config import load_yaml, parse
from edgedet.data.augment.config import AugmentConfig
from edgedet.data.augment.labelled import LabelledImage
from edgedet.data.clean import trainable
from edgedet.data.image_cache import cache_sizes
from edgedet.data.sample import Sample
from edgedet.data.sheet import MAX_IMAGES
from edgedet.errors import EdgedetError
from edgedet.models.zoo import require_input_size
from edgedet.progress import Track, no_progress
from edgedet.recipes import recipe_path
from edgedet.train.config import TrainConfig
from edgedet.train.loader import TrainingSet
from edgedet.train.plan import BatchPlan, SampleKey


def read_recipe(recipe: str, imgsz: int | None = None) -> TrainConfig:
    """The settings that `edgedet train` would have; the dataset they name is not looked at.

    Args:
        recipe: a name of `edgedet.recipes`, or the path of a YAML file with settings of a training run, or with those
            of its `augment` alone.
        imgsz: side of the input in pixels in place of the recipe's.

    Raises:
        EdgedetError: the file cannot be read, or holds a setting that neither has; no detector has such an input.
    """
    path = recipe_path(recipe)
    values = load_yaml(path)
    if values.keys() & TrainConfig.model_fields.keys():
        config = parse(TrainConfig, {"data": "", **values}, where=path)
    else:
        config = TrainConfig(data="", augment=parse(AugmentConfig, values, where=path))
    if imgsz is not None:
        config = config.model_copy(update={"imgsz": imgsz})
    require_input_size(config.imgsz, config.imgsz)
    return config


def augmented_images(
    samples: Sequence[Sample],
    recipe: TrainConfig,
    *,
    count: int,
    draws: int,
    seed: int,
    track: Track = no_progress,
) -> list[tuple[str, LabelledImage]]:
    """Images as training makes them of a split, each drawn several times one after the other.

    Args:
        samples: of the split; images that are joined come of all of it.
        recipe: `imgsz` and `augment` are used.
        count: how many images, spread evenly over the split; all if there are fewer.
        draws: how often each is drawn.
        seed: of every random choice.
        track: reports the progress.

    Returns:
        `count * draws` images, each with the name of its file.

    Raises:
        EdgedetError: there are none, or more than a sheet has room for.
    """
    usable, _ = trainable(samples, track=track)
    count = min(count, len(usable))
    if not 1 <= count * draws <= MAX_IMAGES:
        what = f"a sheet shows 1 to {MAX_IMAGES} images, not {count} times {draws}"
        raise EdgedetError(what, fix="set --count and --draws")
    dataset = TrainingSet(
        usable,
        recipe.augment,
        BatchPlan(len(usable), recipe.batch, draws, seed, recipe.imgsz),
        mosaic_epochs=draws,
        max_size=recipe.imgsz,
        cache=cache_sizes(recipe.cache_mib, 0),
    )
    chosen = np.linspace(0, len(usable) - 1, count).round().astype(int).tolist()
    keys = [SampleKey(draw, index, index, recipe.imgsz) for index in chosen for draw in range(draws)]
    return [(usable[key.sample].image.name, dataset[key][1]) for key in track(keys, "augmenting")]
