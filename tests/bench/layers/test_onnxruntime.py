"""Kernels that ONNX Runtime really ran, and the nodes that they stand for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from int8_masters import SIDE, master_of
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgedet.bench.layers.exported import nodes_of_kernels
from edgedet.bench.layers.kernels import Kernel, read_kernels
from edgedet.bench.layers.onnxruntime import kernel_layers, profile_onnx
from edgedet.bench.layers.table import Layer, LayerTable
from edgedet.errors import EdgedetError
from edgedet.graph.costs import NodeCost, node_costs
from edgedet.graph.master import master_graph
from edgedet.graph.source import find_model
from edgedet.graph.targets import lower
from edgedet.models.count import count_macs
from edgedet.runtime.backends.onnxruntime import profile_runs

MODEL = "squeezenet_1.1"


def event(name: str, at: float, milliseconds: float, operator: str = "Conv", **args: Any) -> dict[str, Any]:
    """As ONNX Runtime writes one."""
    args = {"op_name": operator, "node_index": "0", "provider": "CPUExecutionProvider", **args}
    return {"cat": "Node", "name": f"{name}_kernel_time", "ts": at, "dur": 1e3 * milliseconds, "args": args}


def run(at: float) -> dict[str, Any]:
    return {"cat": "Session", "name": "model_run", "ts": at, "dur": 90, "args": {}}


def cost(name: str, kind: str = "Conv", macs: int = 100, reads: str = "x", **changes: Any) -> NodeCost:
    values = {"read_bytes": 0, "weight_bytes": 0, "written_bytes": 0, "weights": 0, "output_shape": None}
    return NodeCost(name, kind, macs, **{**values, **changes}, inputs=(reads,), outputs=(f"{name}_output",))


class TestReadingAProfile:
    def test_each_run_has_its_time_and_the_first_ones_are_left_out(self) -> None:
        events = [event("a", 10, 9), event("a", 110, 1), event("a", 210, 3), run(200), run(0), run(100)]
        (kernel,) = read_kernels(events, skip=1)
        assert kernel.milliseconds == (1, 3)

    def test_a_kernel_that_runs_twice_in_a_run_counts_twice(self) -> None:
        (kernel,) = read_kernels([run(0), event("a", 10, 1), event("a", 20, 3), run(100)])
        assert kernel.milliseconds == (4, 0)

    def test_types_sizes_and_bytes_are_those_of_the_profile(self) -> None:
        types = {
            "input_type_shape": [{"uint8": [1, 3, 8, 8]}, {"float": []}],
            "output_type_shape": [{"uint8": [1, 8, 8, 16]}],
            "activation_size": "192",
            "parameter_size": "9",
            "output_size": "1024",
        }
        assert read_kernels([run(0), event("a", 10, 1, "QLinearConv", **types)]) == (
            Kernel("a", "QLinearConv", "CPUExecutionProvider", (1.0,), "UINT8", (1, 8, 8, 16), 192, 9, 1024),
        )

    @pytest.mark.parametrize(
        "args",
        [
            {"input_type_shape": 3, "output_type_shape": [7, {"float": "no"}]},
            {"activation_size": "many", "parameter_size": [], "output_size": None},
            {"output_type_shape": [{"float": [1, "a"]}]},
        ],
    )
    def test_what_the_profile_does_not_tell_well_is_unknown(self, args: dict[str, Any]) -> None:
        (kernel,) = read_kernels([3, {"name": None, "ts": "?"}, run(0), event("a", 10, 1, **args)])
        assert (kernel.shape, kernel.activation_bytes) == (None, 0)

    def test_a_profile_of_skipped_runs_alone_is_refused(self) -> None:
        with pytest.raises(EdgedetError, match="no time of a kernel"):
            read_kernels([run(0), event("a", 10, 1)], skip=1)


class TestNodesOfKernels:
    def names(self, kernels: Sequence[tuple[str, str]], costs: Sequence[NodeCost]) -> list[tuple[str, ...]]:
        return [tuple(node.name for node in found) for found in nodes_of_kernels(kernels, costs)]

    def test_a_kernel_is_named_after_its_node_or_what_that_gives(self) -> None:
        costs = [cost("a"), cost("b", reads="a_output"), cost("c", reads="b_output")]
        kernels = [("a", "FusedConv"), ("b_token_12", "QLinearConv"), ("c_output_nchwc", "Conv")]
        assert self.names(kernels, costs) == [("a",), ("b",), ("c",)]

    def test_a_node_whose_own_name_looks_lengthened_is_found_by_it(self) -> None:
        costs = [cost("a"), cost("a_token_1", reads="a_output")]
        assert self.names([("a_token_1", "Conv"), ("a", "Conv")], costs) == [("a_token_1",), ("a",)]

    def test_a_fused_convolution_belongs_to_the_kernel_of_what_reads_it(self) -> None:
        costs = [cost("conv"), cost("add", "Add", 0, "conv_output"), cost("relu", "Relu", 0, "add_output")]
        assert self.names([("relu_output_nchwc", "Conv")], costs) == [("conv", "relu")]

    def test_a_kernel_that_multiplies_nothing_gets_no_products(self) -> None:
        assert self.names([("relu", "Relu")], [cost("conv"), cost("relu", "Relu", 0, "conv_output")]) == [("relu",)]

    def test_a_product_that_two_nodes_read_is_not_guessed(self) -> None:
        costs = [cost("conv"), cost("one", "Relu", 0, "conv_output"), cost("two", "Relu", 0, "conv_output")]
        assert self.names([("one", "Conv"), ("two", "Conv")], costs) == [("one",), ("two",)]

    def test_a_product_is_in_one_kernel_though_two_bear_its_name(self) -> None:
        kernels = [("conv_token_1", "Transpose"), ("conv_token_2", "QLinearConv"), ("conv_token_3", "QLinearConv")]
        assert self.names(kernels, [cost("conv")]) == [(), ("conv",), ()]

    def test_what_onnx_runtime_inserted_stands_for_no_node(self) -> None:
        assert self.names([("ReorderInput_token_3", "ReorderInput")], [cost("conv")]) == [()]


class TestLayers:
    KERNEL = Kernel("conv_token_1", "QLinearConv", "CPU", (1.0, 2.0, 6.0), "UINT8", (1, 8, 8, 16), 192, 9, 1024)

    def test_weights_that_the_profile_leaves_out_are_those_of_the_file(self) -> None:
        (layer,) = kernel_layers([self.KERNEL], [cost("conv", weight_bytes=500)])
        assert (layer.milliseconds, layer.mean_ms, layer.macs) == (2, 3, 100)
        assert layer.bytes == 192 + 500 + 1024

    def test_without_the_file_there_are_times_and_no_macs(self) -> None:
        (layer,) = kernel_layers([self.KERNEL], None)
        assert (layer.milliseconds, layer.macs, layer.nodes, layer.inserted) == (2, None, None, False)
        assert layer.bytes == 192 + 9 + 1024

    def test_a_residual_block_is_accounted_for_though_it_is_fused(self) -> None:
        """ONNX Runtime makes one kernel of the second convolution, the sum and the ReLU."""
        model = residual_block()
        events = profile_runs(model.SerializeToString(), {"x": np.ones((1, 32, 8, 8), np.float32)}, runs=2)
        costs = node_costs(model)
        layers = kernel_layers(read_kernels(events), costs)
        assert sum(layer.macs or 0 for layer in layers) == sum(node.macs for node in costs) == 2 * 32 * 32 * 9 * 64
        assert all(layer.kind != "Add" for layer in layers)


def residual_block() -> ModelProto:
    def conv(source: str, name: str) -> NodeProto:
        return helper.make_node("Conv", [source, "w"], [f"{name} result"], name=name, pads=[1] * 4)

    nodes = [
        conv("x", "first"),
        helper.make_node("Relu", ["first result"], ["r"], name="relu"),
        conv("r", "second"),
        helper.make_node("Add", ["second result", "r"], ["sum"], name="add"),
        helper.make_node("Relu", ["sum"], ["y"], name="last"),
    ]
    shape = [1, 32, 8, 8]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    stored = numpy_helper.from_array(np.ones((32, 32, 3, 3), np.float32), "w")
    graph = helper.make_graph(nodes, "block", ends[:1], ends[1:], [stored])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One model of the zoo in float and in INT8."""
    folder = tmp_path_factory.mktemp("zoo")
    detector, spec = find_model(MODEL, classes=3, size=(SIDE, SIDE))
    graphs = {
        "float": master_graph(detector, spec, batch=1, dynamic_batch=False),
        "int8": lower(master_of(MODEL), "ort-cpu", None),
    }
    for name, graph in graphs.items():
        onnx.save(graph, folder / f"{name}.onnx")
    return {name: folder / f"{name}.onnx" for name in graphs}


def profiled(file: Path, **options: Any) -> LayerTable:
    return profile_onnx(file, runs=3, warmup=1, with_peak=False, **options)


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_every_multiply_accumulate_of_a_model_is_in_a_layer(kind: str, files: dict[str, Path]) -> None:
    table = profiled(files[kind])
    assert (table.unaccounted_macs, table.runs) == (0, 3)
    assert table.graph_macs == sum(node.macs for node in node_costs(onnx.load(files[kind])))
    assert sum(layer.share or 0.0 for layer in table.layers) == pytest.approx(1)
    assert all(layer.bytes for layer in table.layers)
    assert json.loads(json.dumps(table.to_dict()))["graph_macs"] == table.graph_macs


def test_a_float_model_has_its_checkpoints_macs_and_layers_that_were_inserted(files: dict[str, Path]) -> None:
    detector, _ = find_model(MODEL, classes=3, size=(SIDE, SIDE))
    table = profiled(files["float"])
    assert table.graph_macs == count_macs(detector, SIDE, SIDE)
    assert all(layer.precision == "FP32" for layer in table.layers if layer.macs)
    assert {layer.kind for layer in table.layers if layer.inserted} <= {"ReorderInput", "ReorderOutput"}


def test_an_int8_models_convolutions_read_bytes(files: dict[str, Path]) -> None:
    convolutions = [layer for layer in profiled(files["int8"]).layers if layer.kind == "QLinearConv"]
    costs = {node.name: node for node in node_costs(onnx.load(files["int8"]))}
    assert convolutions
    for layer in convolutions:
        assert layer.precision == "UINT8"
        assert layer.nodes is not None and layer.bytes is not None
        assert layer.bytes > costs[layer.nodes[0]].weights


WITHOUT_ONNX = """
import json, sys
from pathlib import Path
for name in ("onnx", "onnx_ir", "onnxscript", "torch", "matplotlib"):
    sys.modules[name] = None
from edgedet.bench.layers.onnxruntime import profile_onnx
table = profile_onnx(Path(sys.argv[1]), runs=2, warmup=0)
print(json.dumps(table.to_dict()))
try:
    from edgedet.bench.layers.plot import roofline_figure
except ModuleNotFoundError as error:
    from edgedet.cli.report import explain
    print(explain(error).fix)
"""


def test_a_board_without_onnx_has_times_and_is_told_once_what_is_missing(files: dict[str, Path]) -> None:
    command = [sys.executable, "-c", WITHOUT_ONNX, str(files["float"])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    shown, fix = done.stdout.splitlines()
    table = json.loads(shown)
    assert table["total_ms"] > 0 and table["peak"] is None and table["unaccounted_macs"] is None
    assert all(layer["macs"] is None and layer["peak_share"] is None for layer in table["layers"])
    assert [note for note in table["notes"] if "no MACs" in note] == [
        "no MACs: this needs the package 'onnx' (pip install onnx)"
    ]
    assert fix == 'pip install "edgedet[eval]"'


def test_layers_that_are_named_alike_can_be_told_apart_by_label() -> None:
    layer = Layer("backbone/Conv_output_nchwc_token_3", "Conv", 1, 1)
    assert layer.label == "backbone/Conv_output"
    assert Layer("b_token_1", "Conv", 1, 1, nodes=("backbone/Conv",)).label == "backbone/Conv"
