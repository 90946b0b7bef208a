"""Layers that TensorRT names and times, with the work of the ONNX nodes that they stand for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_onnx import SPEC, write_tiny_model

from edgedet.bench.layers import tensorrt
from edgedet.bench.layers.tensorrt import engine_layers, profile_engine
from edgedet.engine.inspect.reading import read_engine_information
from edgedet.graph.costs import NodeCost
from edgedet.runtime.backend import TensorInfo

COPY = "Reformatting CopyNode for Input Tensor 0 to stem/Conv"
CONVOLUTION = "stem/Conv + PWN(stem/Clip)"
HALF = "Channel major FP16 format where channel % 8 == 0"


def tensor(name: str, *sizes: int, described: str = HALF) -> dict[str, Any]:
    return {"Name": name, "Dimensions": list(sizes), "Format/Datatype": described}


ENGINE = read_engine_information(
    json.dumps(
        {
            "Layers": [
                {
                    "Name": COPY,
                    "LayerType": "Reformat",
                    "Inputs": [tensor("images", 1, 3, 8, 8, described="Row major linear FP32")],
                    "Outputs": [tensor("copy", 1, 3, 8, 8)],
                },
                {
                    "Name": CONVOLUTION,
                    "LayerType": "CaskConvolution",
                    "Metadata": "[ONNX Layer: stem.weight/QuantizeLinear]\x1f[ONNX Layer: stem/Clip]\x1f"
                    "[ONNX Layer: stem/Conv]",
                    "Inputs": [tensor("copy", 1, 3, 8, 8)],
                    "Outputs": [tensor("y", 1, 16, 8, 8)],
                },
            ],
            "Bindings": ["images", "y"],
        }
    )
)
SAMPLES = {COPY: [0.1, 0.2, 0.6], CONVOLUTION: [1.0, 2.0, 3.0]}
COSTS = [
    NodeCost("stem/Conv", "Conv", 27648, 768, 1728, 4096, 432, (1, 16, 8, 8), ("images",), ("c",)),
    NodeCost("stem/Clip", "Clip", 0, 4096, 0, 4096, 0, (1, 16, 8, 8), ("c",), ("y",)),
]


def test_a_layer_has_the_macs_of_its_nodes_and_its_weights_in_its_own_precision() -> None:
    copy, convolution = engine_layers(SAMPLES, ENGINE, COSTS)
    assert (convolution.macs, convolution.nodes) == (27648, ("stem/Conv", "stem/Clip"))
    assert convolution.bytes == 2 * (3 * 64 + 16 * 64 + 432)
    assert (convolution.milliseconds, convolution.precision, convolution.shape) == (2, "FP16", (1, 16, 8, 8))
    assert (copy.macs, copy.inserted, copy.bytes) == (0, True, (4 + 2) * 3 * 64)
    assert (copy.milliseconds, copy.mean_ms) == (0.2, pytest.approx(0.3))


def test_without_the_onnx_file_there_are_no_macs_and_no_bytes_of_what_has_weights() -> None:
    copy, convolution = engine_layers(SAMPLES, ENGINE, None)
    assert (convolution.macs, convolution.bytes, convolution.label) == (None, None, "stem/Clip")
    assert (copy.macs, copy.bytes) == (None, (4 + 2) * 3 * 64)


def test_a_node_that_two_layers_name_counts_once() -> None:
    layers = engine_layers({CONVOLUTION: [1.0], "stem/Conv": [1.0]}, ENGINE, COSTS)
    assert [layer.macs for layer in layers] == [27648, 0]


def test_a_layer_that_the_inspector_leaves_out_is_known_by_its_name() -> None:
    (layer,) = engine_layers({"stem/Conv + stem/Relu": [1.0]}, ENGINE, COSTS)
    assert (layer.macs, layer.nodes, layer.bytes) == (27648, ("stem/Conv", "stem/Relu"), None)


def test_sizes_that_are_free_leave_the_bytes_unknown() -> None:
    free = {"Name": "a", "LayerType": "Reformat", "Inputs": [tensor("x", -1, 3)], "Outputs": [tensor("y", -1, 3)]}
    engine = read_engine_information(json.dumps({"Layers": [free], "Bindings": []}))
    assert engine_layers({"a": [1.0]}, engine, COSTS)[0].bytes is None


class Loaded:
    """As `edgedet.runtime.backends.tensorrt.TensorRTBackend`, of an engine that is not there."""

    name = "tensorrt 10.3.0 (a GPU)"
    inputs = (TensorInfo("images", (2, 3, 64, 64), np.dtype(np.float32)),)
    outputs = (
        TensorInfo("boxes", (2, 64, 4), np.dtype(np.float32)),
        TensorInfo("scores", (2, 64, 3), np.dtype(np.float32)),
    )
    settings: Mapping[str, Any] = {}

    def __init__(self) -> None:
        self.times = iter([0.1, 0.2, 0.6])

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        return {info.name: np.zeros(info.shape, np.float32) for info in self.outputs}

    def layer_times(self, feeds: Mapping[str, Any], *, runs: int) -> dict[str, float]:
        assert runs == 1 and feeds["images"].shape == (2, 3, 64, 64)
        return {"node_AveragePool": next(self.times)}

    def information(self) -> str:
        return json.dumps({"Layers": ["node_AveragePool"], "Bindings": ["images", "boxes", "scores"]})


class TestProfiling:
    @pytest.fixture(autouse=True)
    def _engine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tensorrt, "load", lambda *_, **__: (Loaded(), SPEC))

    def test_medians_and_means_are_of_all_runs(self) -> None:
        table = profile_engine(Path("m.engine"), runs=3, warmup=0)
        (layer,) = table.layers
        assert (layer.milliseconds, layer.mean_ms) == (0.2, pytest.approx(0.3))
        assert (table.runtime, table.peak, table.graph_macs) == (Loaded.name, None, None)
        assert tensorrt.NO_SOURCE in table.notes

    def test_the_onnx_file_tells_the_work(self, tmp_path: Path) -> None:
        table = profile_engine(Path("m.engine"), source=write_tiny_model(tmp_path / "m.onnx"), runs=3, warmup=0)
        assert table.graph_macs == 0
        assert tensorrt.NO_SOURCE not in table.notes
