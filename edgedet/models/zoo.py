"""Every detector by name."""

from __future__ import annotations

from collections.abc import Callable

from edgedet.errors import EdgedetError, unknown_value
from edgedet.models.backbones.base import Backbone
from edgedet.models.backbones.mobilenetv2 import MobileNetV2
from edgedet.models.backbones.shufflenetv2 import ShuffleNetV2
from edgedet.models.backbones.squeezenet import SqueezeNet
from edgedet.models.detector import INPUT_MULTIPLE, STRIDES, Detector
from edgedet.models.heads.gfl import GFLHead
from edgedet.models.necks.pan import PAN
from edgedet.spec import MAX_SIDE

NECK_CHANNELS = 96

_BACKBONES: dict[str, Callable[[str], Backbone]] = {
    "mobilenetv2_0.35": lambda activation: MobileNetV2(0.35, activation),
    "mobilenetv2_0.5": lambda activation: MobileNetV2(0.5, activation),
    "mobilenetv2_0.75": lambda activation: MobileNetV2(0.75, activation),
    "mobilenetv2_1.0": lambda activation: MobileNetV2(1.0, activation),
    "shufflenetv2_0.5x": lambda activation: ShuffleNetV2("0.5x", activation),
    "shufflenetv2_1.0x": lambda activation: ShuffleNetV2("1.0x", activation),
    "shufflenetv2_1.5x": lambda activation: ShuffleNetV2("1.5x", activation),
    "squeezenet_1.1": lambda activation: SqueezeNet(activation),
}


def list_models() -> list[str]:
    """The names that `build_detector` takes."""
    return list(_BACKBONES)


def native_activation(name: str) -> str:
    """The activation that the backbone's paper uses and its published weights were trained with."""
    return "relu6" if name.startswith("mobilenetv2") else "relu"


def build_detector(name: str, num_classes: int, *, activation: str | None = None) -> Detector:
    """A detector with random weights.

    Args:
        name: one of `list_models()`.
        num_classes: at least 1.
        activation: of backbone, neck and head; None means the backbone's native one.
    """
    if name not in _BACKBONES:
        raise unknown_value("model", name, list_models())
    if num_classes < 1:
        raise EdgedetError(f"a detector needs at least one class, not {num_classes}")
    activation = native_activation(name) if activation is None else activation
    backbone = _BACKBONES[name](activation)
    neck = PAN(backbone.channels, NECK_CHANNELS, activation)
    head = GFLHead(NECK_CHANNELS, num_classes, STRIDES, activation)
    architecture: dict[str, str | int] = {"name": name, "num_classes": num_classes, "activation": activation}
    return Detector(backbone, neck, head, architecture)


def require_input_size(height: int, width: int) -> None:
    """Refuses an input size that the strides do not divide, or that no specification can hold."""
    for side in (height, width):
        if side > MAX_SIDE:
            raise EdgedetError(f"image size {side} is above {MAX_SIDE}", where="--imgsz", fix=f"use {MAX_SIDE} or less")
        if side < INPUT_MULTIPLE or side % INPUT_MULTIPLE:
            lower = max(INPUT_MULTIPLE, side // INPUT_MULTIPLE * INPUT_MULTIPLE)
            fix = f"use {lower} or {lower + INPUT_MULTIPLE}"
            raise EdgedetError(f"image size {side} is not a multiple of {INPUT_MULTIPLE}", where="--imgsz", fix=fix)
