"""The activation functions a network can be built with, by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from edgedet.errors import unknown_value

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "relu6": lambda: nn.ReLU6(inplace=True),
    "leaky_relu": lambda: nn.LeakyReLU(0.1),  # the slope of Darknet, YOLO and NanoDet
    "hardswish": nn.Hardswish,
    "swish": nn.SiLU,
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
