"""A weak and a strong view of one image, for learning from unlabelled images.

A teacher looks at the weak one; what it finds goes to the strong one, which the student looks at, by
`strong.transform.after(weak.transform.inverse())`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgedet.data.augment.config import AugmentConfig
from edgedet.data.augment.geometric import AffineTransform
from edgedet.data.augment.labelled import LabelledImage
from edgedet.data.augment.layouts import place, placement
from edgedet.data.augment.pipeline import recolour_and_hide

WEAK = AugmentConfig(mosaic=0.0, translate=0.0, hue=0.0, saturation=0.0, brightness=0.0)
"""A flip and a zoom."""

STRONG = tuple(
    WEAK.model_copy(update={"colour_operation": 1.0, "cutout": 1.0, **move})
    for move in ({"translate": 0.1}, {"rotate": 30.0}, {"shear": 30.0})
)
"""STAC's (Sohn et al., 2020): a shift, a rotation or a shear of the whole image; of its moves within boxes, none."""


@dataclass(frozen=True)
class View:
    """An augmented image, and how it came about.

    Attributes:
        labelled: the image, and the boxes that are left of the source's.
        transform: from the source's pixels to those of the view; its `matrix` is the 3x3 one.
    """

    labelled: LabelledImage
    transform: AffineTransform


def weak_and_strong(
    source: LabelledImage,
    size: int,
    rng: np.random.Generator,
    *,
    weak: AugmentConfig = WEAK,
    strong: Sequence[AugmentConfig] = STRONG,
) -> tuple[View, View]:
    """Two views of one image, each `size` x `size` pixels, drawn independently.

    Of the settings, those that join several images and what Scale-aware AutoAugment does around boxes are not used: a
    view is of one image, and moved by one matrix.

    Args:
        source: without boxes where there are none.
        size: side of each view in pixels.
        rng: source of every random choice.
        weak: settings of the first view.
        strong: settings of the second view, one of which is drawn.
    """
    weak_view = _view(source, size, weak, rng)
    return weak_view, _view(source, size, strong[int(rng.integers(len(strong)))], rng)


def _view(source: LabelledImage, size: int, config: AugmentConfig, rng: np.random.Generator) -> View:
    transform = placement(source, size, config, rng)
    placed = place(source, transform, size)
    return View(replace(placed, image=recolour_and_hide(placed.image, config, rng)), transform)
