"""How far a tensor of B may be from what A computes of B's own tensors before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgedet.graph.comparison.grid import Array, Grid
from edgedet.graph.comparison.matching import Pair
from edgedet.graph.comparison.points import Point

STEPS = 0.51
"""Rounding moves a number by half a step at most. The rest is for what float32 does to a sum."""

HALF_STEPS = 1.0
"""The same of a sum in 16 bits, whose own rounding is a good part of a step."""

SHARE = 1e-4
"""Of a tensor's largest value. What float32 does to a sum is a hundredth of it."""

HALF_SHARE = 1e-2
"""The same in 16 bits, of which 11 are for digits."""

UNLIKE_STEPS = 8.0
"""Where only one of the two rounds weights or clips: of 255 steps, in `UNLIKE_QUANTILE` of a tensor."""

UNLIKE_QUANTILE = 0.999

STEPS_OF_A_RANGE = 127


@dataclass(frozen=True)
class Distance:
    """How far two tensors are apart.

    Attributes:
        error: the distance, in `unit`.
        tolerance: what it is held to, in `unit`.
        unit: `steps` of the coarser grid of the two, or `share` of the tensor's largest value.
        quantile: of the values that is meant; 1 means the one that is most beyond its tolerance.
    """

    error: float
    tolerance: float
    unit: str
    quantile: float

    @property
    def ratio(self) -> float:
        """Above 1 the tensors diverge."""
        return self.error / self.tolerance


def distance(pair: Pair, reference: Array, found: Array, *, loosen: float = 1.0) -> Distance:
    """How far B's tensor is from what A computes of the same tensors.

    Where both round the same, each value counts. One on B's grid may be half a step off, and half a step of the grid
    on which integer convolutions add their biases; one that B leaves float as far as floats are. The upper ends of
    both grids count as a value; a lowering may move the lower one of what is never negative. Where only one of the two
    rounds weights or clips, all but one in a thousand must lie within some steps.

    Args:
        pair: the tensor.
        reference: what A computes, before it rounds.
        found: what B gives, of the same shape.
        loosen: the tolerance is multiplied by it.
    """
    if pair.a.grid is not None and pair.b.grid is not None:
        reference, found = _on_grids(pair.a.grid, reference, pair.b.grid, found)
    unit, scale = unit_of(pair, reference)
    error, limit = deviation(reference, found), loosen * _limit(pair, unit, scale)
    if not pair.alike or not error.size:
        tolerance = float(np.max(limit)) / scale
        return Distance(quantile(error, UNLIKE_QUANTILE) / scale, tolerance, unit, UNLIKE_QUANTILE)
    limits = np.broadcast_to(limit, error.shape)
    worst = np.unravel_index(np.argmax(error / limits), error.shape)
    return Distance(float(error[worst]) / scale, float(limits[worst]) / scale, unit, 1.0)


def _on_grids(a: Grid, reference: Array, b: Grid, found: Array) -> tuple[Array, Array]:
    """A's values as its grid clips them, and B's; behind both, along the last axis, the upper ends of their grids."""
    one_step_along_it = all(grid.scale.shape[-1:] in ((), (1,)) for grid in (a, b))
    if reference.ndim == 0 or not one_step_along_it:
        return a.clip(reference), found
    beyond = np.full((*reference.shape[:-1], 1), np.inf)
    with_ends = (np.concatenate([values, beyond], axis=-1) for values in (reference, found))
    clipped_reference, clipped_found = (grid.clip(values) for grid, values in zip((a, b), with_ends, strict=True))
    return clipped_reference, clipped_found


def deviation(reference: Array, found: Array) -> Array:
    """Absolute differences, float64; infinite where either is not a finite number."""
    with np.errstate(invalid="ignore"):
        differences = np.abs(reference.astype(np.float64) - found.astype(np.float64))
    return np.where(np.isfinite(differences), differences, np.inf)


def quantile(values: Array, share: float) -> float:
    """The smallest that so large a share of the values is not above; infinite ones are values too. 0 of no values."""
    if not values.size:
        return 0.0
    place = max(int(np.ceil(share * values.size)) - 1, 0)
    return float(np.partition(values, place, axis=None)[place])


def unit_of(pair: Pair, reference: Array) -> tuple[str, float]:
    """What differences are told in, and how large it is: a step of the coarser grid, or the tensor's largest value."""
    steps = [float(np.max(point.grid.scale)) for point in (pair.a, pair.b) if point.grid is not None]
    if steps and not (pair.alike and pair.b.grid is None):
        return "steps", max(steps)
    largest = np.abs(reference[np.isfinite(reference)]).max(initial=0.0)
    return "share", max(float(largest), float(np.finfo(np.float32).tiny))


def _limit(pair: Pair, unit: str, scale: float) -> Array:
    """In the tensor's own unit, so that it broadcasts over it."""
    half = pair.a.half or pair.b.half
    if not pair.alike:
        return np.asarray((UNLIKE_STEPS if unit == "steps" else UNLIKE_STEPS / STEPS_OF_A_RANGE) * scale)
    if pair.b.grid is None:
        return np.asarray((HALF_SHARE if half else SHARE) * scale)
    rounding = (HALF_STEPS if half else STEPS) * pair.b.grid.scale.astype(np.float64)
    return np.asarray(rounding + _bias(pair.a) + _bias(pair.b))


def _bias(point: Point) -> Array:
    return np.zeros(()) if point.bias_step is None else 0.5 * point.bias_step
