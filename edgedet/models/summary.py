"""The sizes of all models, part by part."""

from __future__ import annotations

from dataclasses import dataclass

from edgedet.models.count import count_macs_by_child, count_parameters
from edgedet.models.threads import one_thread
from edgedet.models.zoo import build_detector, list_models, require_input_size


@dataclass(frozen=True)
class ModelSize:
    """Parameters and multiply-accumulates (one image) of a detector, by part: `backbone`, `neck`, `head`, `total`."""

    name: str
    params: dict[str, int]
    macs: dict[str, int]


def model_sizes(num_classes: int, height: int, width: int) -> list[ModelSize]:
    """The size of every model that `list_models` names, for an input of `height` x `width` pixels.

    Raises:
        EdgedetError: a side that the strides do not divide, or no class.
    """
    require_input_size(height, width)
    with one_thread():
        return [_model_size(name, num_classes, height, width) for name in list_models()]


def _model_size(name: str, num_classes: int, height: int, width: int) -> ModelSize:
    detector = build_detector(name, num_classes)
    params = {part: count_parameters(child) for part, child in detector.named_children()}
    macs = count_macs_by_child(detector, height, width)
    return ModelSize(name, _with_total(params), _with_total(macs))


def _with_total(parts: dict[str, int]) -> dict[str, int]:
    return {**parts, "total": sum(parts.values())}
