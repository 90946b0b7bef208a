"""Where the grids of gated inputs end."""

from __future__ import annotations

import numpy as np
import pytest

from edgedet.ops.gated_conv.definition import GatedConv
from edgedet.ops.gated_conv.reference import split
from edgedet.quant.calibrate import gated_range
from edgedet.quant.ranges import BINS, Histogram, range_of

SIZES = np.abs(np.random.default_rng(0).normal(0, 1, 100_000))
HISTOGRAM = Histogram(np.histogram(SIZES, BINS, (0, SIZES.max()))[0].astype(float), float(SIZES.max()))
GATES = {
    "8/4": GatedConv(4, 0, 255),
    "5/3": GatedConv(2, 0, 31),
    "4/2": GatedConv(2, 0, 15),
    "signed 8/4": GatedConv(4, -128, 127),
    "16/8": GatedConv(8, -32768, 32639),
}


def error_of(end: float, gate: GatedConv, open_share: float) -> float:
    """Mean squared error with all bits for a share and the high ones for the others, by the reference's codes."""
    step = end / gate.highest
    codes = np.minimum(np.rint(SIZES / step), gate.highest)
    high, _ = split(gate, codes)
    errors = [np.mean((one * step - SIZES) ** 2) for one in (codes, high)]
    return float(open_share * errors[0] + (1 - open_share) * errors[1])


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_end_has_the_least_error(name: str, share: float) -> None:
    gate = GATES[name]
    end = gated_range(HISTOGRAM, "mse", gate, share)
    best = min(error_of(one, gate, share) for one in np.linspace(0.05, 1, 60) * SIZES.max())
    assert error_of(end, gate, share) <= best * 1.05


def test_fewer_open_gates_end_the_grid_earlier() -> None:
    ends = [gated_range(HISTOGRAM, "mse", GATES["4/2"], share) for share in (0.0, 0.5, 0.99, 1.0)]
    assert ends == sorted(ends) and ends[0] < 0.9 * ends[-1]


def test_other_methods_do_not_depend_on_gates() -> None:
    for method in ("max", "percentile", "entropy"):
        assert gated_range(HISTOGRAM, method, GATES["4/2"], 0.3) == range_of(HISTOGRAM, method)


@pytest.mark.parametrize("method", ["mse", "max"])
def test_an_input_that_is_always_zero_has_no_range(method: str) -> None:
    assert gated_range(Histogram(np.zeros(BINS), 0.0), method, GATES["8/4"], 0.3) == 0
