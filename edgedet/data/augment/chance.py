"""Whether something happens."""

from __future__ import annotations

import numpy as np


def happens(probability: float, rng: np.random.Generator) -> bool:
    """True with a probability; what cannot happen draws nothing, so that later choices are as if it were not there."""
    return probability > 0 and rng.random() < probability
