"""What every backbone offers to the neck above it."""

from __future__ import annotations

from collections.abc import Container

from torch import Tensor, nn


class Backbone(nn.Module):
    """A feature extractor with torchvision's parameter names.

    Attributes:
        name: the backbone's name with its width, such as `mobilenetv2_0.5`.
        channels: channels of the feature maps that `forward` gives.
        strides: input pixels per cell of each of them; for input sides divisible by 32, a map's sides are exactly
            the input's divided by its stride.
    """

    name: str
    channels: tuple[int, ...]
    strides: tuple[int, ...] = (8, 16, 32)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """`images` float32 `[B, 3, H, W]` -> one map `[B, channels[i], H / strides[i], W / strides[i]]` per stride."""
        raise NotImplementedError


def outputs_at(taps: Container[int], layers: nn.Sequential, x: Tensor) -> tuple[Tensor, ...]:
    """Runs `x` through all layers; gives what comes out of those whose index is in `taps`."""
    outputs = []
    for index, layer in enumerate(layers):
        x = layer(x)
        if index in taps:
            outputs.append(x)
    return tuple(outputs)
