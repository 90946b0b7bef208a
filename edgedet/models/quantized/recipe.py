"""How a detector was quantized: what its checkpoint and its export must know besides the weights."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edgedet.config import Digest, Frozen

EdgeName = Annotated[str, Field(max_length=200)]


class Calibration(Frozen):
    """What the grids were chosen on.

    Attributes:
        method: of `edgedet.quant.ranges.METHODS`.
        images: how many.
        images_sha256: of the images' pixels, in their order.
        weights_sha256: of the float weights.
        preprocess_sha256: of the specification by which the images became tensors.
    """

    method: str
    images: Annotated[int, Field(ge=1)]
    images_sha256: Digest
    weights_sha256: Digest
    preprocess_sha256: Digest


class Recipe(Frozen):
    """Attributes:
    version: of what the scales mean; in 1 all weights had 8 bits.
    keep_float: edges that are not rounded; the convolutions that read one keep float weights.
    calibration: None where the grids are not calibrated yet.
    trained: how the grids moved in quantization-aware training; None where they are as calibrated.
    """

    version: Literal[2] = 2
    keep_float: tuple[EdgeName, ...] = ()
    calibration: Calibration | None = None
    trained: Literal["lsq", "pact", "observed"] | None = None
