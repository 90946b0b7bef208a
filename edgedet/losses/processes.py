"""What the processes that share a batch tell each other."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Mean = Callable[[Tensor], Tensor]
"""The mean of a tensor over the processes. A loss calls it once, in every process."""


def alone(value: Tensor) -> Tensor:
    """The mean over one process."""
    return value
