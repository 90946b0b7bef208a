"""What a gated convolution computes. Every implementation is held to this text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgedet.errors import EdgedetError

Granularity = Literal["element", "pixel", "tile"]
LARGEST_LOW = 127
"""Of a low part, which is an int8."""


@dataclass(frozen=True)
class GatedConv:
    """Precision gating (Zhang et al., ICLR 2020, section 3) over integer codes, and its meaning.

    Inputs are codes `q` of activations `[B, C, H, W]` from `lowest` to `highest`, integer weights and, for each output
    channel, a threshold and a sign of 1 or -1, or 0 for one that never wants the update.

    1. Split. With `k = low_bits`, `high = round(q / 2^k) * 2^k`, ties to even as in ONNX's QuantizeLinear, but at most
       the largest multiple of `2^k` that is no larger than `highest`; and `low = q - high`. The paper cuts the low bits
       off instead; rounding keeps the high part from being smaller on average. Where codes have 8 bits, both parts do.
       With 8 low bits, of codes from -32768 to 32639, both have 8 bits too, except that half a step is a low part of
       128: it is taken for 127.
    2. Prediction. `p = conv(high, weights)`, everywhere.
    3. Gate. An output element wants the update if `sign * (p - threshold) > 0`, strictly. By `granularity` it is open
       where it wants that itself (`element`), where an output channel of the same position does (`pixel`), or one of
       any position in the same tile of `tile x tile` positions (`tile`; tiles start at the first position, and end
       with the map).
    4. Update. The result is `p + conv(low, weights)` where the gate is open, and `p` elsewhere.

    All sums are exact integers. Operators add a bias to the result, which no threshold is compared with. A threshold
    of minus infinity opens the gate everywhere, and gives the convolution of `q`; one of infinity opens it nowhere, and
    gives that of `high`.

    A normalisation behind the convolution, `y = factor * (p - mean) + offset`, may be folded into weights and bias:
    then thresholds are multiplied by the factor, and the sign is the factor's (`reference.folded`).

    Attributes:
        low_bits: k, of a code; at least 1.
        lowest, highest: of the codes: -128 and 127 of signed INT8, 0 and 255 of what is never negative.
        granularity: see above.
        tile: side of a tile in positions, with `tile` alone.
    """

    low_bits: int = 4
    lowest: int = -128
    highest: int = 127
    granularity: Granularity = "element"
    tile: int = 8

    def __post_init__(self) -> None:
        if self.low_bits < 1 or 1 << self.low_bits > self.highest - self.lowest:
            what = f"{self.low_bits} low bits leave no high ones of codes from {self.lowest} to {self.highest}"
            raise EdgedetError(what, fix="give at least 1, and fewer than a code has")
        if self.lowest > 0 or self.highest <= 0:
            raise EdgedetError(f"codes from {self.lowest} to {self.highest} have no 0", fix="padding is 0")
        if self.tile < 1:
            raise EdgedetError(f"a tile of {self.tile} positions has none", fix="give at least 1")

    @property
    def step(self) -> int:
        """Of the high part: `2^k`."""
        return 1 << self.low_bits

    @property
    def highest_high(self) -> int:
        """The largest high part."""
        return self.highest // self.step * self.step


def average_bits(gate: GatedConv, open_share: float) -> float:
    """Bits of an activation that are multiplied, on average (section 3.1): `H + open_share * (B - H)`.

    Args:
        gate: B bits from `lowest` to `highest`, the lower k of them gated.
        open_share: share of the output elements that are updated, in 0..1.
    """
    bits = (gate.highest - gate.lowest).bit_length()
    return bits - gate.low_bits + open_share * gate.low_bits
