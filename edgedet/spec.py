"""The one specification of pre- and post-processing that every runtime obeys.

It travels in the checkpoint and in the ONNX metadata (`metadata_props["edgedet"]`, as JSON).
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from edgedet.config import Frozen, parse
from edgedet.errors import EdgedetError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Unit = Annotated[float, Field(ge=0.0, le=1.0)]
MAX_SIDE = 8192
Side = Annotated[int, Field(ge=32, le=MAX_SIDE)]
Stride = Annotated[int, Field(ge=1, le=1024)]


def _encodable(text: str) -> str:
    """Refuses lone surrogates, which JSON can hold, UTF-8 cannot, and OpenCV's text drawing does not survive."""
    text.encode()
    return text


Text = Annotated[str, AfterValidator(_encodable)]


class Preprocess(Frozen):
    """How a source image becomes the network's input.

    The image (8-bit, three channels) is resized by `min(height / h, width / w)` to
    `floor(side * scale + 0.5)` pixels a side (at least 1), bilinear (OpenCV's INTER_LINEAR), put at the top
    left of a canvas filled with `pad_value`, reordered to `color`, and mapped to float32 as
    `(pixel / 255 - mean[c]) / std[c]`, channels first.
    """

    height: Side
    width: Side
    resize: Literal["letterbox"] = "letterbox"
    pad_position: Literal["bottom_right"] = "bottom_right"
    pad_value: Annotated[int, Field(ge=0, le=255)] = 114
    interpolation: Literal["linear"] = "linear"
    color: Literal["rgb"] = "rgb"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    @model_validator(mode="after")
    def _std_is_positive(self) -> Preprocess:
        if min(self.std) <= 0:
            raise ValueError("std must be above 0")
        return self


class Postprocess(Frozen):
    """How the network's boxes and scores become detections: class-wise greedy DIoU-NMS.

    A box is suppressed when `IoU - (rho^2 / c^2)^beta > iou_threshold` with a better one of its class
    (methods: DIoU-NMS); ties in score go to the lower index.
    """

    score_threshold: Unit = 0.25
    iou_threshold: Unit = 0.6
    beta: Annotated[float, Field(gt=0.0, le=10.0)] = 1.0
    pre_nms_top_k: Annotated[int, Field(ge=1, le=100_000)] = 1000
    max_detections: Annotated[int, Field(ge=1, le=100_000)] = 300
    class_agnostic: bool = False


class Spec(Frozen):
    """Everything a runtime must know of a detector besides its weights."""

    version: Literal[1] = 1
    task: Literal["detect"] = "detect"
    model: Text
    class_names: Annotated[tuple[Text, ...], Field(min_length=1, max_length=10_000)]
    strides: Annotated[tuple[Stride, ...], Field(min_length=1, max_length=8)]
    preprocess: Preprocess
    postprocess: Postprocess = Postprocess()
    random_weights: bool = False

    def to_json(self) -> str:
        """The specification as one line of JSON."""
        return self.model_dump_json()

    def with_postprocess(self, **changes: Any) -> Spec:
        """A copy with the given post-processing settings; None leaves one as it is."""
        changed = {key: value for key, value in changes.items() if value is not None}
        postprocess = parse(Postprocess, {**self.postprocess.model_dump(), **changed}, where="post-processing")
        return self.model_copy(update={"postprocess": postprocess})


def spec_from_json(text: str, *, where: object = None) -> Spec:
    """The specification in `text`, validated."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EdgedetError("its edgedet specification is not valid JSON", where=where) from error
    if not isinstance(values, dict):
        raise EdgedetError("its edgedet specification is not a JSON object", where=where)
    return parse(Spec, values, where=where)
