"""Settings of the augmentation."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from edgedet.config import Frozen

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Share = Annotated[float, Field(ge=0.0, le=0.9)]


class AugmentConfig(Frozen):
    """What each training image goes through.

    What is off draws no random numbers: switching it on leaves the choices of what comes before it as they were.

    Attributes:
        mosaic: probability of joining four images (0 outside the mosaic epochs).
        flip_horizontal: probability.
        flip_vertical: probability; 0 unless the scene has no up.
        scale: the zoom is drawn from `1 - scale .. 1 + scale`.
        aspect: the ratio of horizontal to vertical zoom is drawn from `1 - aspect .. 1 + aspect`.
        translate: shift, as a share of the image, either way.
        hue: additive, as a share of the colour circle, either way.
        saturation: relative, either way.
        brightness: relative, either way.
        split: probability of joining two images at a line, where there is no mosaic.
        mixup: probability of blending in another image, made in the same way.
        mixup_alpha: both parameters of the Beta distribution that Mixup's share is drawn from.
        cutmix: probability of pasting a rectangle of another image, made in the same way.
        cutmix_visible: share of a box that has to be left in sight by CutMix's rectangle, or inside of it.
        rotate: angle in degrees, either way; boxes are those around the turned corners.
        shear: angle in degrees of the horizontal and of the vertical shear, either way.
        colour_operation: probability of one of the operations of `edgedet.data.augment.colour`.
        cutout: probability of grey squares.
        random_erasing: probability of a rectangle of noise.
        gridmask: probability of a grid of grey squares.
        scale_aware: whether zoom and boxes go through the policy of Scale-aware AutoAugment.
    """

    mosaic: Probability = 1.0
    flip_horizontal: Probability = 0.5
    flip_vertical: Probability = 0.0
    scale: Share = 0.5
    aspect: Share = 0.0
    translate: Share = 0.1
    hue: Annotated[float, Field(ge=0.0, le=0.5)] = 0.015
    saturation: Share = 0.7
    brightness: Share = 0.4
    split: Probability = 0.0
    mixup: Probability = 0.0
    mixup_alpha: Annotated[float, Field(gt=0.0)] = 1.0
    cutmix: Probability = 0.0
    cutmix_visible: Share = 0.3
    rotate: Annotated[float, Field(ge=0.0, le=180.0)] = 0.0
    shear: Annotated[float, Field(ge=0.0, le=45.0)] = 0.0
    colour_operation: Probability = 0.0
    cutout: Probability = 0.0
    random_erasing: Probability = 0.0
    gridmask: Probability = 0.0
    scale_aware: bool = False

    def of_single_images(self) -> AugmentConfig:
        """The same without mosaics, splits, Mixup and CutMix."""
        return self.model_copy(update={"mosaic": 0.0, "split": 0.0, "mixup": 0.0, "cutmix": 0.0})
