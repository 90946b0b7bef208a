"""Settings of the augmentation."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from edgedet.config import Frozen

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Share = Annotated[float, Field(ge=0.0, le=0.9)]


class AugmentConfig(Frozen):
    """What each training image goes through.

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
