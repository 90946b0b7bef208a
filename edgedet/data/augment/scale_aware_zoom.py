"""The zoom of whole images in Scale-aware AutoAugment (Chen et al., CVPR 2021)."""

from __future__ import annotations

import numpy as np

ZOOM_IN_PROBABILITY, ZOOM_IN = 0.2, 1.2
ZOOM_OUT_PROBABILITY, ZOOM_OUT = 0.4, 0.5


def draw_zoom(rng: np.random.Generator) -> float:
    """A zoom in, a zoom out, or 1.

    The probabilities are those of the paper's Table 9, constant over the run. Its magnitudes, 4 and 10 of 10, stand for
    the zooms 1.2 and 0.5 that the published code decodes to.
    """
    choice = rng.random()
    if choice < ZOOM_IN_PROBABILITY:
        return ZOOM_IN
    return ZOOM_OUT if choice < ZOOM_IN_PROBABILITY + ZOOM_OUT_PROBABILITY else 1.0
