"""How a detector was quantized: what its checkpoint and its export must know besides the weights."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edgedet.config import Digest, Frozen
from edgedet.ops.gated_conv.definition import Granularity

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


class Gating(Frozen):
    """Which convolutions are gated, and how (`edgedet.ops.gated_conv.definition`).

    Attributes:
        layers: module paths of the convolutions.
        bits: of their activations, where the gate is open.
        high_bits: of these, where it is closed.
        granularity: what one decision is for.
        tile: side of a tile in positions, with `tile` alone.
    """

    layers: tuple[EdgeName, ...]
    bits: Annotated[int, Field(ge=2, le=16)] = 8
    high_bits: Annotated[int, Field(ge=1, le=8)] = 4
    granularity: Granularity = "element"
    tile: Annotated[int, Field(ge=1, le=64)] = 8


class Recipe(Frozen):
    """Attributes:
    version: of what the scales mean; in 1 all weights had 8 bits.
    keep_float: edges that are not rounded; the convolutions that read one keep float weights.
    calibration: None where the grids are not calibrated yet.
    trained: how the grids moved in quantization-aware training; None where they are as calibrated.
    gating: None where every convolution has its whole input.
    """

    version: Literal[2] = 2
    keep_float: tuple[EdgeName, ...] = ()
    calibration: Calibration | None = None
    trained: Literal["lsq", "pact", "observed"] | None = None
    gating: Gating | None = None
