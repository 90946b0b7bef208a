"""Mish by the CPU kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.ops.native import as_floats, kernels


def mish(values: Any) -> NDArray[np.float32]:
    """Mish of each value, see `definition`. Other Python threads run meanwhile.

    Args:
        values: float32 of any shape, of NumPy or of anything on the CPU with DLPack.

    Returns:
        An array of the same shape.
    """
    array = as_floats(values)
    result: NDArray[np.float32] = kernels.mish(array.reshape(-1)).reshape(array.shape)
    return result
