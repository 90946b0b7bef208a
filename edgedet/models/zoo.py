"""Every detector by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from edgedet.errors import EdgedetError, unknown_value
from edgedet.models.backbones.base import Backbone
from edgedet.models.backbones.mobilenetv2 import MobileNetV2
from edgedet.models.backbones.shufflenetv2 import ShuffleNetV2
from edgedet.models.backbones.squeezenet import SqueezeNet
from edgedet.models.detector import INPUT_MULTIPLE, STRIDES, Architecture, Detector
from edgedet.models.heads.base import Head
from edgedet.models.heads.fcos import FCOSHead
from edgedet.models.heads.gfl import GFLHead
from edgedet.models.heads.ssdlite import SSDLiteHead
from edgedet.models.heads.yolo import YOLOHead
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

_HEADS: dict[str, Callable[[int, int, Sequence[int], str], Head]] = {
    "gfl": GFLHead,
    "fcos": FCOSHead,
    "ssdlite": SSDLiteHead,
    "yolo": YOLOHead,
}

DEFAULT_OPTIONS: Mapping[str, str | int | float] = {
    "head": "gfl",
    "spp": False,
    "se": False,
    "dropblock": 0.0,
    "dropblock_size": 7,
}
"""The options of `build_detector` at their defaults. An architecture names all of them or, at the defaults, none."""


def list_models() -> list[str]:
    """The names that `build_detector` takes."""
    return list(_BACKBONES)


def list_heads() -> list[str]:
    """The names of heads that `build_detector` takes, the default first."""
    return list(_HEADS)


def native_activation(name: str) -> str:
    """The activation that the backbone's paper uses and its published weights were trained with."""
    return "relu6" if name.startswith("mobilenetv2") else "relu"


def build_detector(
    name: str,
    num_classes: int,
    *,
    activation: str | None = None,
    head: str = "gfl",
    spp: bool = False,
    se: bool = False,
    dropblock: float = 0.0,
    dropblock_size: int = 7,
) -> Detector:
    """A detector with random weights.

    Args:
        name: one of `list_models()`.
        num_classes: at least 1.
        activation: of backbone, neck and head; None means the backbone's native one.
        head: one of `list_heads()`.
        spp: spatial pyramid pooling in the neck, see `edgedet.models.necks.pan.PAN`.
        se: squeeze and excitation in the neck, likewise.
        dropblock: drop probability of DropBlock in the neck, likewise; at least 0 and below 1.
        dropblock_size: side of a dropped block in cells, at least 1; see `require_dropblock_fits`.

    Raises:
        EdgedetError: a name is unknown, or a number out of its range.
    """
    if name not in _BACKBONES:
        raise unknown_value("model", name, list_models())
    if num_classes < 1:
        raise EdgedetError(f"a detector needs at least one class, not {num_classes}")
    if head not in _HEADS:
        raise unknown_value("head", head, list_heads())
    activation = native_activation(name) if activation is None else activation
    backbone = _BACKBONES[name](activation)
    neck = PAN(
        backbone.channels,
        NECK_CHANNELS,
        activation,
        spp=spp,
        se=se,
        dropblock=dropblock,
        dropblock_size=dropblock_size,
    )
    architecture: Architecture = {"name": name, "num_classes": num_classes, "activation": activation}
    options: Architecture = {
        "head": head,
        "spp": spp,
        "se": se,
        "dropblock": float(dropblock),
        "dropblock_size": dropblock_size,
    }
    if options != DEFAULT_OPTIONS:
        architecture |= options
    return Detector(backbone, neck, _HEADS[head](NECK_CHANNELS, num_classes, STRIDES, activation), architecture)


def require_input_size(height: int, width: int) -> None:
    """Refuses an input size that the strides do not divide, or that no specification can hold."""
    for side in (height, width):
        if side > MAX_SIDE:
            raise EdgedetError(f"image size {side} is above {MAX_SIDE}", where="--imgsz", fix=f"use {MAX_SIDE} or less")
        if side < INPUT_MULTIPLE or side % INPUT_MULTIPLE:
            lower = max(INPUT_MULTIPLE, side // INPUT_MULTIPLE * INPUT_MULTIPLE)
            fix = f"use {lower} or {lower + INPUT_MULTIPLE}"
            raise EdgedetError(f"image size {side} is not a multiple of {INPUT_MULTIPLE}", where="--imgsz", fix=fix)


def require_dropblock_fits(architecture: Mapping[str, str | int | float], size: int) -> None:
    """Refuses an input size at which a map that blocks are dropped from has fewer cells than a block.

    Args:
        architecture: of a detector, see `DetectionNetwork.architecture`.
        size: the shorter side of the input in pixels, at its smallest.
    """
    if not architecture.get("dropblock"):
        return
    block, cells = int(architecture["dropblock_size"]), size // INPUT_MULTIPLE
    if cells < block:
        raise EdgedetError(
            f"at {size} pixels the coarsest map that blocks are dropped from has {cells} cells a side, a block {block}",
            where="dropblock_size",
            fix=f"use images of {block * INPUT_MULTIPLE} pixels or more, or dropblock_size={cells}",
        )
