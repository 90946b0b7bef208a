"""The numbers that a quantizer can give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgedet.graph.lowerings.editing import array_of, input_of

Array = NDArray[Any]

KINDS = (np.int8, np.uint8, np.int16, np.uint16)
UNUSUAL = frozenset({"block_size", "output_dtype"})


@dataclass(frozen=True, eq=False)
class Grid:
    """An integer grid.

    Attributes:
        scale: the step, `[]`, or one for each index of the axis, shaped so that it broadcasts.
        zero_point: the integer that means 0, shaped like `scale`.
        lowest: the smallest integer.
        highest: the largest.
    """

    scale: Array
    zero_point: Array
    lowest: int
    highest: int

    def values(self, codes: Array) -> Array:
        """What the integers mean, float32."""
        return ((codes.astype(np.float32) - self.zero_point.astype(np.float32)) * self.scale).astype(np.float32)

    @property
    def ends(self) -> tuple[Array, Array]:
        """The smallest and the largest value, shaped like `scale`."""
        zero_point, scale = self.zero_point.astype(np.float64), self.scale.astype(np.float64)
        return (self.lowest - zero_point) * scale, (self.highest - zero_point) * scale

    def clip(self, values: Array) -> Array:
        """The values, none beyond the grid's ends."""
        clipped: Array = np.clip(values, *self.ends)
        return clipped


def grid_of(quantizer: ir.Node) -> Grid | None:
    """The grid of a QuantizeLinear node; None where it is computed when running, has no width, or is of a kind that
    NumPy lacks."""
    scale, zero_point = input_of(quantizer, 1), quantizer.inputs[2] if len(quantizer.inputs) > 2 else None
    if scale.const_value is None or (zero_point is not None and zero_point.const_value is None):
        return None
    steps = array_of(scale).astype(np.float32)
    zeros = np.zeros(steps.shape, np.uint8) if zero_point is None else array_of(zero_point)
    shape = _along(quantizer, steps)
    if zeros.dtype not in KINDS or UNUSUAL & set(quantizer.attributes) or shape is None or zeros.shape != steps.shape:
        return None
    if not (np.isfinite(steps).all() and (steps > 0).all()):
        return None
    ends = np.iinfo(zeros.dtype)
    return Grid(steps.reshape(shape), zeros.reshape(shape), int(ends.min), int(ends.max))


def _along(quantizer: ir.Node, steps: Array) -> tuple[int, ...] | None:
    """A shape in which one step for each index of the axis broadcasts over the quantized tensor; None if unknown."""
    if steps.size == 1:
        return ()
    shape = input_of(quantizer, 0).shape
    if shape is None or steps.ndim > 1:
        return None
    axis = quantizer.attributes.get_int("axis", 1) % len(shape)
    return tuple(steps.size if dimension == axis else 1 for dimension in range(len(shape)))
