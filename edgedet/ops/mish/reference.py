"""Mish in NumPy and float64: the reference that the implementations are compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST = 40.0
"""Beyond it tanh(softplus(x)) is 1 in float64."""


def mish(values: NDArray[Any]) -> NDArray[np.float64]:
    """Mish of each value, see `definition`.

    By tanh(log(1 + e)) = n / (n + 2) with n = e^2 + 2 e, in which nothing cancels.
    """
    x = values.astype(np.float64)
    exponential = np.exp(np.minimum(x, LARGEST))
    n = exponential * (exponential + 2)
    result: NDArray[np.float64] = x * (n / (n + 2))
    return result
