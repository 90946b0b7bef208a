"""DropBlock (Ghiasi et al., NeurIPS 2018): whole squares of a map are left out in training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgedet.errors import EdgedetError


class DropBlock(nn.Module):
    """Sets squares of a map `[B, C, H, W]` to 0, others in each channel, and scales up the rest by what is missing.

    Squares lie wholly within the map; in a map that is smaller than a square they have the map's shorter side. They are
    drawn from PyTorch's global generator of the map's device, as `nn.Dropout`'s zeros are. In eval mode the input is
    given back as it is, so no exported graph holds anything of this layer.

    Args:
        block_size: side of the squares in cells, at least 1; odd or even.
        drop: share of the cells that are dropped, at least 0 and below 1. Where squares overlap it is less.

    Raises:
        EdgedetError: a number is out of its range.
    """

    def __init__(self, block_size: int = 7, drop: float = 0.1) -> None:
        super().__init__()
        if block_size < 1:
            raise EdgedetError(f"a block of {block_size} cells a side drops nothing", where="block_size")
        if not 0 <= drop < 1:
            raise EdgedetError(f"a drop probability of {drop} is not in 0..1, 1 left out", where="drop")
        self.block_size = block_size
        self.drop = drop
        self.current_drop = drop

    def set_progress(self, share: float) -> None:
        """Sets the drop probability to its share of `drop`; without a call it is all of `drop`.

        The paper (section 3) lets it grow linearly over the run: to drop much from the start harms early learning.

        Args:
            share: of the run that is over, in 0..1.
        """
        self.current_drop = self.drop * share

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.current_drop == 0:
            return x
        height, width = x.shape[-2:]
        side = min(self.block_size, height, width)
        corners = (*x.shape[:-2], height - side + 1, width - side + 1)
        seeds = torch.rand(corners, device=x.device) < seed_probability(height, width, side, self.current_drop)
        # A cell is dropped where one of the squares that hold it has its top left corner at a seed.
        dropped = functional.max_pool2d(functional.pad(seeds.float(), [side - 1] * 4), side, stride=1)
        kept = dropped == 0
        return x * kept * (kept.numel() / kept.sum().clamp(min=1))

    def extra_repr(self) -> str:
        return f"block_size={self.block_size}, drop={self.drop}"


def seed_probability(height: int, width: int, block_size: int, drop: float) -> float:
    """How likely each valid place is the place of a block, gamma: `drop / s^2 * H * W / ((H - s + 1) * (W - s + 1))`.

    Equation 1 of the paper.

    Args:
        height: H in cells.
        width: W in cells.
        block_size: s in cells, at most H and W.
        drop: share of the cells to be dropped.
    """
    places = (height - block_size + 1) * (width - block_size + 1)
    return drop / block_size**2 * height * width / places
