"""The CPU kernels, and the arrays that they take."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.errors import EdgedetError

try:
    from edgedet.ops import _cpu as kernels
except ImportError as error:
    raise EdgedetError(
        f"the CPU kernels cannot be loaded: {error}",
        fix="install edgedet for this Python and this machine: pip install --force-reinstall --no-deps edgedet",
    ) from error

__all__ = ["as_floats", "kernels"]


def as_floats(values: Any) -> NDArray[np.float32]:
    """Contiguous float32, without a copy if it is that already: of NumPy, or of anything on the CPU with DLPack."""
    array = values if isinstance(values, np.ndarray) else np.from_dlpack(values)
    return np.ascontiguousarray(array, np.float32)
