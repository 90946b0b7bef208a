"""From sample indices to one augmented training image with its boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgedet.data.augment.chance import happens
from edgedet.data.augment.colour import random_operation
from edgedet.data.augment.config import AugmentConfig
from edgedet.data.augment.erase import cutout, gridmask, random_erasing
from edgedet.data.augment.labelled import LabelledImage
from edgedet.data.augment.layouts import arrange
from edgedet.data.augment.mix import cutmix, mixup
from edgedet.data.augment.photometric import jitter_colour
from edgedet.data.augment.scale_aware import change_objects


@dataclass(frozen=True)
class Sources:
    """The samples that a training image is made of: one, two for a split or four for a mosaic each time.

    Attributes:
        base: of the image itself.
        pasted: of the image that CutMix pastes a part of; empty without it.
        mixed: of the image that Mixup blends in; empty without it.
    """

    base: tuple[int, ...]
    pasted: tuple[int, ...] = ()
    mixed: tuple[int, ...] = ()

    @property
    def samples(self) -> tuple[int, ...]:
        """All of them."""
        return self.base + self.pasted + self.mixed


def augment(
    load: Callable[[int], LabelledImage],
    partners: Sequence[int],
    index: int,
    size: int,
    config: AugmentConfig,
    rng: np.random.Generator,
) -> LabelledImage:
    """The augmented training image of sample `index`, `size` x `size` pixels.

    Args:
        load: gives the labelled image of an index; its objects count once each.
        partners: the samples from which those are drawn that are joined with it; at least one.
        index: of the sample.
        size: side of the result in pixels.
        config: what to do and how much.
        rng: the source of every random choice.
    """
    drawn = draw_sources(partners, index, config, rng)

    def picture(samples: Sequence[int]) -> LabelledImage:
        arranged = arrange([load(sample) for sample in samples], size, config, rng)
        return change_objects(arranged, rng) if config.scale_aware else arranged

    result = picture(drawn.base)
    if drawn.pasted:
        result = cutmix(result, picture(drawn.pasted), config.cutmix_visible, rng)
    if drawn.mixed:
        result = mixup(result, picture(drawn.mixed), config.mixup_alpha, rng)
    return replace(result, image=recolour_and_hide(result.image, config, rng))


def draw_sources(partners: Sequence[int], index: int, config: AugmentConfig, rng: np.random.Generator) -> Sources:
    """What `augment` makes an image of, by its first draws: `index`, and others drawn from `partners`."""
    base = _layout(partners, index, config, rng)
    pasted: tuple[int, ...] = ()
    mixed: tuple[int, ...] = ()
    if happens(config.cutmix, rng):
        pasted = _layout(partners, _draw(partners, rng), config, rng)
    if happens(config.mixup, rng):
        mixed = _layout(partners, _draw(partners, rng), config, rng)
    return Sources(base, pasted, mixed)


def recolour_and_hide(image: NDArray[np.uint8], config: AugmentConfig, rng: np.random.Generator) -> NDArray[np.uint8]:
    """What augmentation does to a finished image `[h, w, 3]`: it moves nothing."""
    image = jitter_colour(image, config, rng)
    if happens(config.colour_operation, rng):
        image = random_operation(image, rng)
    if happens(config.cutout, rng):
        image = cutout(image, rng)
    if happens(config.random_erasing, rng):
        image = random_erasing(image, rng)
    if happens(config.gridmask, rng):
        image = gridmask(image, rng)
    return image


def _layout(partners: Sequence[int], index: int, config: AugmentConfig, rng: np.random.Generator) -> tuple[int, ...]:
    if rng.random() < config.mosaic:
        return (index, *(partners[drawn] for drawn in rng.integers(len(partners), size=3)))
    if happens(config.split, rng):
        return (index, _draw(partners, rng))
    return (index,)


def _draw(partners: Sequence[int], rng: np.random.Generator) -> int:
    return partners[int(rng.integers(len(partners)))]
