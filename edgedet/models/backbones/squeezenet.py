"""SqueezeNet 1.1 (Iandola et al., 2016, arXiv 1602.07360; the authors' second release), without the classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgedet.models.activations import make_activation
from edgedet.models.backbones.base import Backbone, outputs_at
from edgedet.models.blocks import SeparableConv

_TAPS = (7, 12)


class SqueezeNet(Backbone):
    """SqueezeNet 1.1 with feature maps from `features.7`, `features.12` and an added block at stride 32.

    Two things differ from torchvision, neither in a parameter's name or shape. The first convolution is padded by 1:
    without it a side of 320 gives 159, 79, 39, 19 cells, which line up with no stride. And SqueezeNet ends at stride
    16, so `extra`, a depthwise-separable convolution, makes the map at stride 32; no published weights hold it.

    Args:
        activation: a name that `make_activation` knows; the paper's and the published weights' is `relu`.
    """

    def __init__(self, activation: str = "relu") -> None:
        super().__init__()
        self.name = "squeezenet_1.1"
        self.channels = (256, 512, 256)
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 3, stride=2, padding=1),
            make_activation(activation),
            _pool(),
            Fire(64, 16, 64, activation),
            Fire(128, 16, 64, activation),
            _pool(),
            Fire(128, 32, 128, activation),
            Fire(256, 32, 128, activation),
            _pool(),
            Fire(256, 48, 192, activation),
            Fire(384, 48, 192, activation),
            Fire(384, 64, 256, activation),
            Fire(512, 64, 256, activation),
        )
        self.extra = SeparableConv(512, 256, activation, stride=2)
        _keep_signal_(self.features)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = outputs_at(_TAPS, self.features, images)
        return (*maps, self.extra(maps[-1]))


class Fire(nn.Module):
    """A 1x1 convolution that squeezes the channels, then 1x1 and 3x3 convolutions side by side that expand them."""

    def __init__(self, in_channels: int, squeezed: int, expanded: int, activation: str) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)
        self.squeeze_activation = make_activation(activation)
        self.expand_activation = make_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze_activation(self.squeeze(x))
        # Activated before they are joined: a runtime fuses an activation into a convolution, not into a concatenation.
        expanded = (self.expand1x1(x), self.expand3x3(x))
        return torch.cat([self.expand_activation(one) for one in expanded], dim=1)


def _keep_signal_(layers: nn.Module) -> None:
    """Draws the weights from N(0, 2 / fan in) (He et al., 2015): nothing else keeps the signal's size over 17 layers.

    Convolutions below a BatchNorm, in the other backbones, keep PyTorch's own smaller weights: their scale changes
    nothing but how far one step of the optimizer turns them, and from larger ones training hardly starts.
    """
    for layer in layers.modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.bias is not None
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)
