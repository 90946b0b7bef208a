"""Blocks in float inside a quantized graph."""

from __future__ import annotations

import int8_masters
import numpy as np
import onnx
import onnxruntime
import pytest

from edgedet.engine.network import read_network
from edgedet.errors import EdgedetError
from edgedet.graph.lowerings.mixed import block_of, keep_blocks_float, quantized_blocks
from edgedet.graph.metadata import with_metadata
from edgedet.graph.source import find_model
from edgedet.graph.targets import lower, place
from edgedet.graph.verify import verification_images
from edgedet.trt.manifest import BuildOptions
from edgedet.trt.versions import Version


def run(model: onnx.ModelProto) -> list[np.ndarray]:
    image = np.random.default_rng(0).random((1, 3, int8_masters.SIDE, int8_masters.SIDE), np.float32)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"images": image})


def count(model: onnx.ModelProto, kind: str, block: str | None = None) -> int:
    return sum(node.op_type == kind and block in (None, block_of(node.name)) for node in model.graph.node)


@pytest.mark.parametrize("name", int8_masters.FAMILIES)
def test_with_every_block_in_float_nothing_is_rounded_but_the_images(name: str) -> None:
    master = int8_masters.master_of(name)
    mixed = keep_blocks_float(place(master, "trt10"), quantized_blocks(master))
    onnx.checker.check_model(mixed, full_check=True)
    read = {name for node in mixed.graph.node if node.op_type == "Conv" for name in node.input}
    made = {node.output[0] for node in mixed.graph.node if node.op_type == "DequantizeLinear"}
    assert not read & made
    for found, expected in zip(run(mixed), run(lower(master, "fp32")), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-2)


@pytest.mark.parametrize("name", int8_masters.FAMILIES)
def test_one_block_in_float_leaves_the_others_as_they_were(name: str) -> None:
    placed = place(int8_masters.master_of(name), "trt10")
    blocks = quantized_blocks(placed)
    chosen = blocks[len(blocks) // 2]
    mixed = keep_blocks_float(placed, [chosen])
    onnx.checker.check_model(mixed, full_check=True)
    assert quantized_blocks(mixed) == tuple(block for block in blocks if block != chosen)
    assert count(mixed, "Conv") == count(placed, "Conv")
    kept = {node.name for node in mixed.graph.node}
    assert all(
        node.name in kept or block_of(node.name) == chosen or node.op_type in ("QuantizeLinear", "DequantizeLinear")
        for node in placed.graph.node
    )
    whole, part, rounded = (run(model) for model in (lower(int8_masters.master_of(name), "fp32"), mixed, placed))
    assert any(not np.array_equal(one, other) for one, other in zip(part, rounded, strict=True))
    assert all(np.isfinite(one).all() and one.shape == other.shape for one, other in zip(part, whole, strict=True))


def test_no_block_changes_nothing() -> None:
    placed = place(int8_masters.master_of("mobilenetv2_0.35"), "trt10")
    for found, expected in zip(run(keep_blocks_float(placed, [])), run(placed), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_block_that_is_none_is_refused(tmp_path) -> None:
    _, spec = find_model("mobilenetv2_0.35", classes=3, size=(int8_masters.SIDE, int8_masters.SIDE))
    path = tmp_path / "m.onnx"
    path.write_bytes(with_metadata(int8_masters.master_of("mobilenetv2_0.35"), spec, batch=1).SerializeToString())
    with pytest.raises(EdgedetError, match=r"backbone\.features\.7"):
        read_network(path, Version(10, 3), BuildOptions(keep_float=("backbone.feature.7",)), verification_images(None))
