"""The gated convolution as a function of standard ONNX operators: two quantized convolutions, a comparison, a choice.

Codes are written as a runtime's quantized graph has them: `x` is float, on the grid of `x_scale`. Thresholds are in the
units of the result, `codes * x_scale * weights`.
"""

from __future__ import annotations

from functools import lru_cache

from onnx import FunctionProto, parser

from edgedet.ops.gated_conv.definition import GatedConv

DOMAIN, OP_TYPE = "edgedet", "EdgeDetGatedConv"

_TEXT = """
<opset_import: ["" : OPSET], domain: "DOMAIN">
OP_TYPE <strides, pads, group> (x, x_scale, high_scale, weights, threshold, sign) => (y)
{
  zero = Constant <value = TYPE {0}> ()
  none = Constant <value_float = 0.0> ()
  fitting_codes = Constant <value_float = FITTING> ()
  fitting = Mul (fitting_codes, x_scale)
  within = Min (x, fitting)
  high_codes = QuantizeLinear (within, high_scale, zero)
  high = DequantizeLinear (high_codes, high_scale, zero)
  below = Sub (x, high)
  signed_zero = Constant <value = int8 {0}> ()
  low_codes = QuantizeLinear (below, x_scale, signed_zero)
  low = DequantizeLinear (low_codes, x_scale, signed_zero)
  predicted = Conv <strides: ints = @strides, pads: ints = @pads, group: int = @group> (high, weights)
  update = Conv <strides: ints = @strides, pads: ints = @pads, group: int = @group> (low, weights)
  above = Sub (predicted, threshold)
  wish = Mul (sign, above)
  SPREAD
  open = Greater (strongest, none)
  whole = Add (predicted, update)
  y = Where (open, whole, predicted)
}
"""

_SPREAD = {
    "element": "strongest = Identity (wish)",
    "pixel": "strongest = ReduceMax <axes = [1], keepdims = 1> (wish)",
    "tile": """of_pixel = ReduceMax <axes = [1], keepdims = 1> (wish)
  of_tile = MaxPool <kernel_shape = [TILE, TILE], strides = [TILE, TILE], ceil_mode = 1> (of_pixel)
  sides = Constant <value = float[4] {1.0, 1.0, TILE.0, TILE.0}> ()
  grown = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"> \
(of_tile, , sides)
  size = Shape <start = 2, end = 4> (wish)
  first = Constant <value = int64[2] {0, 0}> ()
  plane = Constant <value = int64[2] {2, 3}> ()
  strongest = Slice (grown, first, size, plane)""",
}
"""The largest wish of those that decide together, at each of them."""


@lru_cache
def function_body(gate: GatedConv, opset: int) -> FunctionProto:
    """The operator with the attributes of a gate, for a model of opset 15 to 17.

    Inputs: `x [B, C, H, W]`, `x_scale []`, `high_scale []` (`2^k x_scale`), `weights [O, C / groups, kh, kw]`,
    `threshold [O, 1, 1]`, `sign [O, 1, 1]`, all float32. Attributes: `strides`, `pads` and `group` of the convolution.
    """
    # One code more would round to a high part that is one step too large: of 7.5 steps the even one is 8.
    fitting = gate.highest_high + gate.step // 2 - 1
    values = {
        "SPREAD": _SPREAD[gate.granularity],
        "OP_TYPE": OP_TYPE,
        "OPSET": str(opset),
        "DOMAIN": DOMAIN,
        "FITTING": f"{fitting}.0",
        "TYPE": "int8" if gate.lowest < 0 else "uint8",
        "TILE": str(gate.tile),
    }
    text = _TEXT
    for name, value in values.items():
        text = text.replace(name, value)
    return parser.parse_function(text)
