"""The activation functions a network can be built with, by name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, fx, nn

from edgedet.errors import EdgedetError, unknown_value


class SwishBeta(nn.Module):
    """`x * sigmoid(beta * x)` with a learned beta (Ramachandran et al., 2017, arXiv 1710.05941).

    One beta for the whole tensor, which starts at 1, where it is `swish`; towards infinity it becomes ReLU. It cannot
    be quantized: grids are set around the layers of the traced network, and tracing takes this one apart.
    """

    def __init__(self) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape.

        Raises:
            EdgedetError: the network is being traced to be quantized.
        """
        if isinstance(x, fx.Proxy):
            fix = "train with swish, or with relu or relu6, which vanish into an INT8 quantizer"
            raise EdgedetError("a detector with the activation swish_beta cannot be quantized", fix=fix)
        return x * torch.sigmoid(self.beta * x)


_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "relu6": lambda: nn.ReLU6(inplace=True),
    "leaky_relu": lambda: nn.LeakyReLU(0.1),  # the slope of Darknet, YOLO and NanoDet
    "hardswish": nn.Hardswish,
    "swish": nn.SiLU,
    "swish_beta": SwishBeta,
    "mish": nn.Mish,
}


def activation_names() -> list[str]:
    """The names that `make_activation` takes. `relu` and `relu6` are the ones that vanish into an INT8 quantizer."""
    return list(_ACTIVATIONS)


def make_activation(name: str) -> nn.Module:
    """A new activation module.

    ReLU and ReLU6 work in place, which saves training memory and time; nothing else may read the tensor before them.

    Raises:
        EdgedetError: `name` is unknown.
    """
    if name not in _ACTIVATIONS:
        raise unknown_value("activation", name, _ACTIVATIONS)
    return _ACTIVATIONS[name]()
