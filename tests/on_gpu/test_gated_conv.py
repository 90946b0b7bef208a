"""On a machine with a GPU: the gated convolution's CUDA kernels as nvcc built them, on arrays of the host.

EDGEDET_CUDA_KERNELS names the library (`make cuda`), build/cuda/libedgedet_cuda.so where it does not.
"""

from __future__ import annotations

import ctypes.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gated_layers import drawn_layers, expected, layer_of
from hypothesis import given, settings
from numpy.typing import NDArray

from edgedet.ops.gated_conv.cuda import CudaGatedConv, GatedLayer
from edgedet.ops.gated_conv.definition import GatedConv

LIBRARY = Path(os.environ.get("EDGEDET_CUDA_KERNELS", "build/cuda/libedgedet_cuda.so"))

pytestmark = [
    pytest.mark.tensorrt,
    pytest.mark.skipif(ctypes.util.find_library("cuda") is None, reason="there is no driver of CUDA"),
    pytest.mark.skipif(not LIBRARY.exists(), reason=f"{LIBRARY} is not built: make cuda"),
]


@pytest.fixture(scope="module")
def kernels() -> CudaGatedConv:
    return CudaGatedConv(LIBRARY)


@given(drawn_layers())
@settings(max_examples=200, deadline=None)
def test_any_shape_gives_what_the_reference_gives_bit_for_bit(
    kernels: CudaGatedConv, drawn: tuple[GatedLayer, NDArray[np.int64]]
) -> None:
    layer, codes = drawn
    x = (codes * np.float64(np.float32(layer.x_scale))).astype(np.float32)
    np.testing.assert_array_equal(kernels.run_of_host(layer, x), expected(layer, codes)[0])


@pytest.mark.parametrize("granularity", ["element", "pixel", "tile"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_large_layer_of_every_share(kernels: CudaGatedConv, dtype: type, granularity: Any) -> None:
    gate = GatedConv(lowest=0, highest=255, granularity=granularity, tile=8)
    codes = np.random.default_rng(0).integers(0, 256, (2, 96, 61, 53))
    closed, _ = expected(layer_of(gate, 192, 96, np.inf), codes)
    for share in (0.0, 0.01, 0.1, 0.5, 1.0):
        thresholds = np.full(192, np.inf)
        thresholds[0] = np.quantile(closed[:, 0], 1 - share) if share else np.inf
        layer = layer_of(gate, 192, 96, thresholds)
        wanted, _ = expected(layer, codes)
        with np.errstate(over="ignore"):
            found = kernels.run_of_host(layer, codes.astype(dtype))
            np.testing.assert_array_equal(found, wanted.astype(dtype))
