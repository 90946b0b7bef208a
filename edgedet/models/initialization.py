"""Random weights to train from scratch with (He et al., 2015, "Delving Deep into Rectifiers")."""

from __future__ import annotations

import math
from typing import Literal

from torch import nn


def he_normal_(module: nn.Module, *, mode: Literal["fan_in", "fan_out"]) -> None:
    """Draws every convolution's weights from N(0, 2 / fan) in place; biases 0, batch norms the identity.

    `fan_out` keeps the gradient's variance (the usual choice below batch norms), `fan_in` the signal's (needed where
    nothing normalises it). The fan is that of one group: PyTorch's own counts a depthwise convolution's channels as if
    they were mixed, which starts a 3x3 depthwise layer of 960 channels 31 times too small.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            channels = layer.in_channels if mode == "fan_in" else layer.out_channels
            fan = channels // layer.groups * math.prod(layer.kernel_size)
            nn.init.normal_(layer.weight, std=math.sqrt(2.0 / fan))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)
