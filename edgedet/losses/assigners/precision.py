"""Half precision has too few digits for boxes in pixels, and too small a range for their areas."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_single(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in float32 where they are narrower, as they are otherwise."""
    return tuple(tensor.to(torch.promote_types(tensor.dtype, torch.float32)) for tensor in tensors)
