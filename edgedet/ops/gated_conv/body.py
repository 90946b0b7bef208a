"""The gated convolution as a function of standard ONNX operators: two quantized convolutions, a comparison, a choice.

Codes are written as a runtime's quantized graph has them: `x` is float, and its codes are `round(x / x_scale)`, cut off
at `lowest` and `highest`. Thresholds are in the units of the result, `codes * x_scale * weights * weight_scale`, and so
is the bias, which is added behind the gate: no threshold is compared with it.
Codes are split as whole numbers: half a step would be rounded either way of `x / high_scale`.
"""

from __future__ import annotations

from functools import lru_cache

from onnx import FunctionProto, parser

from edgedet.errors import EdgedetError
from edgedet.ops.gated_conv.definition import GatedConv

DOMAIN, OP_TYPE, QUANTIZED_OP_TYPE = "edgedet", "EdgeDetGatedConv", "EdgeDetQGatedConv"

# One code more than fitting would round to a high part that is one step too large: of 7.5 steps the even one is 8.
_TEXT = """
<opset_import: ["" : OPSET], domain: "DOMAIN">
OP_TYPE <strides, pads, group, step, lowest, highest, granularity, tile>
(x, x_scale, high_scale, weights, weight_scale, threshold, sign, bias) => (y)
{
  none = Constant <value_float = 0.0> ()
  unit = Constant <value_float = 1.0> ()
  signed_zero = Constant <value = int8 {0}> ()
  two = Constant <value_int = 2> ()
  one = Constant <value_int = 1> ()
  codes_in_step = Constant <value_int: int = @step> ()
  step_size = Cast <to = 1> (codes_in_step)
  highest_code = Constant <value_int: int = @highest> ()
  highest_value = Cast <to = 1> (highest_code)
  lowest_code = Constant <value_int: int = @lowest> ()
  lowest_value = Cast <to = 1> (lowest_code)
  steps = Div (highest_code, codes_in_step)
  highest_high = Mul (steps, codes_in_step)
  half_step = Div (codes_in_step, two)
  beyond_fitting = Add (highest_high, half_step)
  fitting_code = Sub (beyond_fitting, one)
  fitting_value = Cast <to = 1> (fitting_code)
  ratios = Div (x, x_scale)
  rounded = Round (ratios)
  from_lowest = Max (rounded, lowest_value)
  codes = Min (from_lowest, highest_value)
  fitting = Min (codes, fitting_value)
  high_steps = QuantizeLinear (fitting, step_size, signed_zero)
  high = DequantizeLinear (high_steps, high_scale, signed_zero)
  high_codes = DequantizeLinear (high_steps, step_size, signed_zero)
  below = Sub (codes, high_codes)
  low_codes = QuantizeLinear (below, unit, signed_zero)
  low = DequantizeLinear (low_codes, x_scale, signed_zero)
  real_weights = DequantizeLinear <axis = 0> (weights, weight_scale)
  predicted = Conv <strides: ints = @strides, pads: ints = @pads, group: int = @group> (high, real_weights)
  update = Conv <strides: ints = @strides, pads: ints = @pads, group: int = @group> (low, real_weights)
  above = Sub (predicted, threshold)
  wish = Mul (sign, above)
  SPREAD
  open = Greater (strongest, none)
  whole = Add (predicted, update)
  chosen = Where (open, whole, predicted)
  sides = Constant <value = int64[2] {1, 2}> ()
  bias_of_channel = Unsqueeze (bias, sides)
  y = Add (chosen, bias_of_channel)
}
"""

_QUANTIZED_TEXT = """
<opset_import: ["" : OPSET, "DOMAIN" : 1], domain: "DOMAIN">
QUANTIZED_OP_TYPE <strides, pads, group, step, lowest, highest, granularity, tile>
(x, x_scale, high_scale, weights, weight_scale, threshold, sign, bias, x_zero_point, y_scale, y_zero_point) => (y)
{
  real = DequantizeLinear (x, x_scale, x_zero_point)
  result = DOMAIN.OP_TYPE <strides: ints = @strides, pads: ints = @pads, group: int = @group, step: int = @step,
    lowest: int = @lowest, highest: int = @highest, granularity: string = @granularity, tile: int = @tile>
    (real, x_scale, high_scale, weights, weight_scale, threshold, sign, bias)
  y = QuantizeLinear (result, y_scale, y_zero_point)
}
"""

_SPREAD = {
    "element": "strongest = Identity (wish)",
    "pixel": "strongest = ReduceMax <axes = [1], keepdims = 1> (wish)",
    "tile": """of_pixel = ReduceMax <axes = [1], keepdims = 1> (wish)
  of_tile = MaxPool <kernel_shape = [TILE, TILE], strides = [TILE, TILE], ceil_mode = 1> (of_pixel)
  growth = Constant <value = float[4] {1.0, 1.0, TILE.0, TILE.0}> ()
  grown = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"> \
(of_tile, , growth)
  size = Shape <start = 2, end = 4> (wish)
  first = Constant <value = int64[2] {0, 0}> ()
  plane = Constant <value = int64[2] {2, 3}> ()
  strongest = Slice (grown, first, size, plane)""",
}
"""The largest wish of those that decide together, at each of them."""


@lru_cache
def function_body(gate: GatedConv, opset: int) -> FunctionProto:
    """The operator for gates of a granularity, and a side of tiles, for a model of opset 15 to 17.

    A model has one function of this name: its gates may differ in their codes, but not in these two.

    Inputs: `x [B, C, H, W]`, `x_scale []`, `high_scale []` (`2^k x_scale`), `weights [O, C / groups, kh, kw]` int8,
    `weight_scale [O]`, `threshold [O, 1, 1]`, `sign [O, 1, 1]`, `bias [O]`, all others float32. The CPU kernel asks
    that all but `x` be constant. Attributes: `strides`, `pads` and `group` of the convolution, and those of
    `gate_attributes`.
    """
    values = {
        "SPREAD": _SPREAD[gate.granularity],
        "OP_TYPE": OP_TYPE,
        "OPSET": str(opset),
        "DOMAIN": DOMAIN,
        "TILE": str(gate.tile),
    }
    text = _TEXT
    for name, value in values.items():
        text = text.replace(name, value)
    return parser.parse_function(text)


@lru_cache
def quantized_body(opset: int) -> FunctionProto:
    """The operator between quantizers, as one: for a model that has `function_body` too.

    Inputs: those of that, with `x` uint8, then `x_zero_point []` uint8, and of the result, which is uint8 too,
    `y_scale []` float32 and `y_zero_point []` uint8. The same attributes.
    """
    text = _QUANTIZED_TEXT
    values = {"QUANTIZED_OP_TYPE": QUANTIZED_OP_TYPE, "OP_TYPE": OP_TYPE, "OPSET": str(opset), "DOMAIN": DOMAIN}
    for name, value in values.items():
        text = text.replace(name, value)
    return parser.parse_function(text)


def gate_attributes(gate: GatedConv) -> dict[str, int | str]:
    """A node's attributes beside those of the convolution.

    Raises:
        EdgedetError: parts of the codes do not fit into 8 bits.
    """
    if gate.low_bits > 8 or gate.lowest < -128 * gate.step or gate.highest >= 128 * gate.step:
        what = (
            f"codes from {gate.lowest} to {gate.highest} with {gate.low_bits} low bits leave parts of more than 8 bits"
        )
        raise EdgedetError(what, fix="give at most 8 low bits, and at most 8 high ones")
    return {
        "step": gate.step,
        "lowest": gate.lowest,
        "highest": gate.highest,
        "granularity": gate.granularity,
        "tile": gate.tile,
    }
