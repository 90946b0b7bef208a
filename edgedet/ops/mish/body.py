"""Mish as a function of standard ONNX operators: what a runtime without a kernel for it computes."""

from __future__ import annotations

from functools import lru_cache

from onnx import FunctionProto, parser

from edgedet.ops.mish.definition import DOMAIN, OP_TYPE

_TEXT = f"""
<opset_import: ["" : OPSET], domain: "{DOMAIN}">
{OP_TYPE} (x) => (y)
{{
  softplus = Softplus (x)
  tanh = Tanh (softplus)
  y = Mul (x, tanh)
}}
"""


@lru_cache
def function_body(opset: int) -> FunctionProto:
    """The operator for a model of some opset, see `definition`."""
    return parser.parse_function(_TEXT.replace("OPSET", str(opset)))
