"""The gated convolution's CUDA kernels, their own sources run on the host, against the reference and the CPU kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cuda_on_host
import numpy as np
import pytest
from gated_layers import drawn_layers, expected, layer_of
from hypothesis import given, settings
from numpy.typing import NDArray

from edgedet.errors import EdgedetError
from edgedet.ops.gated_conv.cuda import CudaGatedConv, GatedLayer
from edgedet.ops.gated_conv.definition import GatedConv

UNSIGNED = {"lowest": 0, "highest": 255}
PROGRAM = cuda_on_host.LIBRARY.with_name("gated_conv_test")

pytestmark = pytest.mark.skipif(
    not cuda_on_host.LIBRARY.exists(), reason=f"{cuda_on_host.LIBRARY.name} is not built: make operators"
)


def values_of(layer: GatedLayer, codes: NDArray[Any]) -> NDArray[np.float32]:
    return (codes * np.float64(np.float32(layer.x_scale))).astype(np.float32)


@given(drawn_layers())
@settings(max_examples=60)
def test_any_shape_gives_what_the_reference_gives_bit_for_bit(drawn: tuple[GatedLayer, NDArray[np.int64]]) -> None:
    layer, codes = drawn
    wanted, _ = expected(layer, codes)
    np.testing.assert_array_equal(cuda_on_host.gated_conv(layer, values_of(layer, codes)), wanted)


@given(drawn_layers())
@settings(max_examples=20)
def test_float16_is_the_float32_result_rounded_once_more(drawn: tuple[GatedLayer, NDArray[np.int64]]) -> None:
    layer, codes = drawn
    codes //= 1 + 256 * (layer.gate.highest > 255)  # those that float16 holds
    x = values_of(layer, codes).astype(np.float16)
    read = np.rint(x.astype(np.float32) * (np.float32(1) / np.float32(layer.x_scale)))
    wanted, _ = expected(layer, read.astype(np.int64))
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(cuda_on_host.gated_conv(layer, x), wanted.astype(np.float16))


@pytest.mark.skipif(not PROGRAM.exists(), reason=f"{PROGRAM.name} is not built: make operators")
@pytest.mark.parametrize(("lowest", "highest", "low_bits"), [(0, 255, 4), (-128, 127, 4), (-32768, 32639, 8)])
@pytest.mark.parametrize("granularity", ["element", "pixel", "tile"])
def test_it_gives_the_cpu_kernels_values(granularity: Any, lowest: int, highest: int, low_bits: int) -> None:
    """Of scales that are powers of two, which the CPU's contracted products do not round either."""
    gate = GatedConv(low_bits, lowest, highest, granularity, tile=3)
    rng = np.random.default_rng(1)
    codes = rng.integers(lowest, highest + 1, (1, 70, 13, 17))
    predicted, _ = expected(layer_of(gate, 100, 70, np.inf), codes)
    thresholds = np.full(100, np.inf)
    deciding = 100 if granularity == "element" else 1
    thresholds[:deciding] = np.quantile(predicted, 0.9, axis=(0, 2, 3))[:deciding]
    layer = layer_of(gate, 100, 70, thresholds)
    sizes = np.array([gate.step, lowest, highest, ["element", "pixel", "tile"].index(granularity), 3, 1, 0, 1])
    shapes = np.array([*layer.weights.shape[:3], *codes.shape[2:]])
    floats = [layer.x_scale, layer.weight_scale, layer.thresholds, layer.signs, layer.bias]
    given = b"".join(part.astype("<i8").tobytes() for part in (sizes, shapes))
    given += b"".join(np.asarray(part, "<f4").tobytes() for part in floats)
    given += layer.weights.tobytes() + codes.astype("<f4").tobytes()
    done = subprocess.run([PROGRAM, "plain"], input=given, stdout=subprocess.PIPE, check=True, timeout=60)
    found = cuda_on_host.gated_conv(layer, codes.astype(np.float32))
    np.testing.assert_array_equal(found.ravel(), np.frombuffer(done.stdout, "<f4"))
    assert 0.02 < expected(layer, codes)[1].mean() < 1


def test_by_hand() -> None:
    """Of the codes of test_gated_conv.py: beyond a threshold of 303 there is an update, from 304 on there is none."""
    codes = np.array([0, 38, 70, 115, 162, 255]).reshape(1, 6, 1, 1)
    weights = np.array([3, -2, 1, 2, -1, 1], np.int8).reshape(1, 6, 1, 1)
    scale, one = np.float32(1 / 64), np.ones(1, np.float32)
    for threshold, sign, result in ((303, 1, 317), (304, 1, 304), (304, -1, 304), (305, -1, 317)):
        gate = GatedConv(lowest=0, highest=255)
        layer = GatedLayer(gate, weights, float(scale), one, threshold * one * scale, sign * one, 0 * one)
        assert cuda_on_host.gated_conv(layer, (codes * scale).astype(np.float32)).item() == result * scale


class TestEarlyExit:
    """Products of a warp have 16 channels and 8 positions, and are 32 deep."""

    def products(self, layer: GatedLayer, codes: NDArray[Any]) -> int:
        wanted, _ = expected(layer, codes)
        before = cuda_on_host.products()
        found = cuda_on_host.gated_conv(layer, codes.astype(np.float32))
        np.testing.assert_array_equal(found, wanted)
        return cuda_on_host.products() - before

    @pytest.mark.parametrize("channels", [16, 200])
    @pytest.mark.parametrize("open_tiles", [0, 1, 3, 16])
    def test_only_open_tiles_are_updated(self, open_tiles: int, channels: int) -> None:
        """By one kernel; and by two where few positions are shared out among blocks."""
        gate = GatedConv(granularity="tile", tile=8, **UNSIGNED)
        codes = np.zeros((1, 32, 32, 32), np.int64)
        rows = -(-channels // 16)
        layer = layer_of(gate, channels, 32, np.inf)
        layer.weights[0], layer.thresholds[0] = 1, 1
        for tile in np.random.default_rng(0).permutation(16)[:open_tiles]:
            codes[0, :, tile // 4 * 8 + 3, tile % 4 * 8 + 5] = 77
        assert self.products(layer, codes) == rows * (128 + 2 * 8 * open_tiles)

    @pytest.mark.parametrize(("height", "width", "channels"), [(16, 24, 16), (3, 5, 200)])
    def test_of_positions_the_eights_with_an_open_one_are(self, height: int, width: int, channels: int) -> None:
        gate = GatedConv(granularity="pixel", **UNSIGNED)
        codes = np.zeros((1, 32, height, width), np.int64)
        codes[0, :, 1, 2] = codes[0, :, 2, 1] = 200
        layer = layer_of(gate, channels, 32, np.inf)
        layer.weights[0], layer.thresholds[0] = 1, 1
        eights = len({(width + 2) // 8, (2 * width + 1) // 8})
        blocks, rows = -(-height * width // 64), -(-channels // 16)
        assert self.products(layer, codes) == rows * (blocks * 8 + 2 * eights)

    def test_of_elements_the_blocks_with_an_open_one_are(self) -> None:
        codes = np.zeros((1, 32, 16, 16), np.int64)
        codes[0, :, 0, 0] = 200
        layer = layer_of(GatedConv(**UNSIGNED), 16, 32, np.inf)
        layer.weights[3], layer.thresholds[3] = 1, 1
        assert self.products(layer, codes) == 4 * 8 + 8

    @pytest.mark.parametrize("granularity", ["element", "pixel", "tile"])
    def test_gates_that_cannot_close_take_one_pass(self, granularity: Any) -> None:
        layer = layer_of(GatedConv(granularity=granularity, tile=3, **UNSIGNED), 16, 32, -np.inf)
        codes = np.random.default_rng(0).integers(0, 256, (1, 32, 16, 16))
        assert cuda_on_host.gated_kernels().pack(layer, codes.shape).always_open
        assert self.products(layer, codes) == 2 * 4 * 8

    def test_one_channel_that_cannot_close_opens_every_position_and_no_element(self) -> None:
        thresholds = np.array([np.inf, -np.inf])
        for granularity, is_open in (("pixel", True), ("tile", True), ("element", False)):
            layer = layer_of(GatedConv(granularity=granularity, **UNSIGNED), 2, 3, thresholds)  # type: ignore[arg-type]
            codes = np.random.default_rng(0).integers(0, 256, (1, 3, 5, 5))
            assert cuda_on_host.gated_kernels().pack(layer, codes.shape).always_open is is_open
            self.products(layer, codes)


@pytest.mark.parametrize("granularity", ["element", "pixel", "tile"])
def test_values_beyond_the_codes_take_the_last_one(granularity: Any) -> None:
    gate = GatedConv(granularity=granularity, tile=2)
    x = np.full((1, 3, 4, 4), np.inf, np.float32)
    x[0, 0], x[0, 1, 0] = -np.inf, np.nan
    layer = layer_of(gate, 5, 3, 1000.0)
    ends = np.clip(np.nan_to_num(x, nan=gate.lowest), gate.lowest, gate.highest).astype(np.int64)
    np.testing.assert_array_equal(cuda_on_host.gated_conv(layer, x), expected(layer, ends)[0])


def test_no_image() -> None:
    layer = layer_of(GatedConv(granularity="pixel"), 5, 3, 0.0)
    assert cuda_on_host.gated_conv(layer, np.zeros((0, 3, 4, 4), np.float32)).shape == (0, 5, 4, 4)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_arrays_of_the_host_are_copied_there_and_back(dtype: type) -> None:
    layer = layer_of(GatedConv(granularity="pixel", **UNSIGNED), 20, 30, 1e5)
    codes = np.random.default_rng(0).integers(0, 256, (2, 30, 9, 7))
    found = cuda_on_host.gated_kernels().run_of_host(layer, codes.astype(dtype))
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(found, expected(layer, codes)[0].astype(dtype))


@pytest.mark.parametrize(("seed", "tensor_cores"), [("1", "0"), ("2", "75"), ("3", "80")])
def test_neither_the_order_of_threads_nor_tensor_cores_change_anything(seed: str, tensor_cores: str) -> None:
    """Tensor cores as the PTX ISA has their fragments; another thread comes first with each seed."""
    tests = [test_it_gives_the_cpu_kernels_values.__name__, TestEarlyExit.__name__]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"{__file__}::{name}" for name in tests)],
        env=os.environ | {"EDGEDET_CUDA_ON_HOST_SEED": seed, "EDGEDET_CUDA_ON_HOST_TENSOR_CORES": tensor_cores},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def changed(layer: GatedLayer, **changes: Any) -> GatedLayer:
    return GatedLayer(**vars(layer) | changes)


LAYER = layer_of(GatedConv(granularity="pixel", **UNSIGNED), 6, 4, 0.0)


@pytest.mark.parametrize(
    ("layer", "shape", "wanted"),
    [
        (changed(LAYER, x_scale=0.0), (1, 4, 5, 5), "x_scale above 0"),
        (changed(LAYER, weight_scale=np.array([1, 1, 1, 1, 1, np.nan])), (1, 4, 5, 5), "weight_scale above 0"),
        (changed(LAYER, bias=np.zeros(5)), (1, 4, 5, 5), "6 scales, thresholds, signs, biases"),
        (changed(LAYER, groups=4), (1, 16, 5, 5), "as many output channels for each group"),
        (changed(LAYER, strides=(0, 1)), (1, 4, 5, 5), "strides: two, from 1"),
        (LAYER, (1, 5, 5, 5), r"x \[B, 4, H, W\]"),
        (changed(LAYER, weights=LAYER.weights.reshape(6, 1, 2, 2)), (1, 1, 1, 5), "images that the weights fit into"),
        (changed(LAYER, weights=LAYER.weights.reshape(6, 4)), (1, 4, 5, 5), "weights"),
        (LAYER, (1, 4, 70_000, 5), "images of 65536 pixels a side or less"),
        (LAYER, (2**20, 4, 100, 100), r"2\^30 positions or fewer"),
    ],
)
def test_what_is_beyond_the_kernels_is_refused(layer: GatedLayer, shape: tuple[int, ...], wanted: str) -> None:
    with pytest.raises(EdgedetError, match=f"by CUDA takes {wanted}"):
        cuda_on_host.gated_kernels().pack(layer, shape)


def test_another_library_is_refused() -> None:
    path = Path(subprocess.check_output(["gcc", "-print-file-name=libm.so.6"], text=True).strip())
    with pytest.raises(EdgedetError, match="no CUDA kernels of edgedet"):
        CudaGatedConv(path)
