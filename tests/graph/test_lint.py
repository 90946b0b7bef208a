"""What keeps quantized graphs from being fast: in handmade ones, in ONNX Runtime's own quantizer's, and in ours."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime
import pytest
from int8_masters import FAMILIES, master_of
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from typer.testing import CliRunner

from edgedet.cli.app import app
from edgedet.errors import EdgedetError
from edgedet.graph.integer_kernels import integer_kernels
from edgedet.graph.lint.finding import Finding
from edgedet.graph.lint.profile import ran_in_integer
from edgedet.graph.lint.run import lint_graph
from edgedet.graph.reading import read_onnx
from edgedet.graph.targets import lower

SIDE = 16


def model_of(
    nodes: Sequence[NodeProto], constants: Mapping[str, Any], outputs: Sequence[str], channels: int = 8
) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "handmade",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, SIDE, SIDE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["a", "b", "c", "d"]) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


def quantized(tensor: str, name: str, scale: str = "s") -> list[NodeProto]:
    """A quantizer called `q NAME` and its dequantizer, which gives NAME."""
    return [
        helper.make_node("QuantizeLinear", [tensor, scale, "z"], [f"q {name}"], name=f"q {name}"),
        helper.make_node("DequantizeLinear", [f"q {name}", scale, "z"], [name], name=f"d {name}"),
    ]


def convolution(source: str, name: str, weight: str = "w", **attributes: Any) -> list[NodeProto]:
    """A convolution called `conv NAME` with integer weights; it gives `NAME float`."""
    return [
        helper.make_node("DequantizeLinear", [weight, "s", "zw"], [f"w {name}"], name=f"d w {name}"),
        helper.make_node(
            "Conv", [source, f"w {name}"], [f"{name} float"], name=f"conv {name}", pads=[1] * 4, **attributes
        ),
    ]


def constants(channels: int = 8, **more: Any) -> dict[str, Any]:
    weight = np.random.default_rng(0).integers(-64, 65, (channels, channels, 3, 3)).astype(np.int8)
    return {
        "s": np.float32(0.05),
        "z": np.uint8(0),
        "zw": np.int8(0),
        "w": weight,
        "w depthwise": weight[:, :1],
        **more,
    }


def found_by(model: ModelProto, runtime: str = "onnxruntime") -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in lint_graph(model, runtime=runtime):
        found.setdefault(finding.rule.name, []).append(finding)
    return found


def test_a_graph_of_integer_kernels_has_no_findings() -> None:
    nodes = [*quantized("x", "in"), *convolution("in", "a"), *quantized("a float", "a"), *convolution("a", "b")]
    nodes += [*quantized("b float", "b"), helper.make_node("Add", ["a", "b"], ["sum"]), *quantized("sum", "out")]
    assert found_by(model_of(nodes, constants(), ["out"])) == {}


class TestFloatConvolutions:
    def test_a_result_that_nothing_quantizes(self) -> None:
        nodes = [*quantized("x", "in"), *convolution("in", "a"), *quantized("a float", "a"), *convolution("a", "b")]
        (finding,) = found_by(model_of(nodes, constants(), ["b float"]))["float-convolution"]
        assert (finding.nodes, finding.what) == (("conv b",), "ran in float: no quantizer takes its result")
        assert finding.rule.severity == "error"

    @pytest.mark.parametrize(("zero_point", "operator"), [(0, None), (128, "Relu"), (0, "Clip")])
    def test_an_activation_that_the_grid_does_not_imply(self, zero_point: int, operator: str | None) -> None:
        nodes = [*quantized("x", "in"), *convolution("in", "a"), helper.make_node("Relu", ["a float"], ["r"])]
        if operator == "Clip":
            nodes[-1] = helper.make_node("Clip", ["a float", "low", "high"], ["r"])
        limits = {"low": np.float32(0), "high": np.float32(6), "z": np.uint8(zero_point)}
        found = found_by(model_of([*nodes, *quantized("r", "out")], constants(**limits), ["out"]))
        if operator is None:
            assert found == {}
        else:
            (finding,) = found["float-convolution"]
            assert finding.what.startswith(f"ran in float: {operator} stands between")

    def test_of_nodes_without_names(self) -> None:
        nodes = [*quantized("x", "in"), *convolution("in", "a"), *quantized("a float", "a"), *convolution("a", "b")]
        for node in nodes:
            node.name = ""
        (finding,) = found_by(model_of(nodes, constants(), ["b float"]))["float-convolution"]
        assert finding.nodes == ("Conv of b float",)


class TestIslands:
    def island(self, operator: str) -> ModelProto:
        nodes = [*quantized("x", "in"), *convolution("in", "a"), *quantized("a float", "a")]
        nodes += [helper.make_node(operator, ["a"], ["b float"], name="middle"), *quantized("b float", "b")]
        nodes += [*convolution("b", "c"), *quantized("c float", "out")]
        return model_of(nodes, constants(), ["out"])

    def test_an_operator_without_integer_kernel(self) -> None:
        (finding,) = found_by(self.island("Softplus"))["float-island"]
        assert finding.nodes == ("middle",)
        assert found_by(self.island("Sigmoid")) == {}

    OPERATORS: ClassVar[dict[str, tuple[list[str], dict[str, Any]]]] = {
        **{
            name: ([], {})
            for name in ("Sigmoid", "LeakyRelu", "Softmax", "Tanh", "HardSwish", "Softplus", "Exp", "Relu")
        },
        "MaxPool": ([], {"kernel_shape": [2, 2]}),
        "AveragePool": ([], {"kernel_shape": [2, 2]}),
        "GlobalAveragePool": ([], {}),
        "Clip": (["low", "high"], {}),
        "Resize": (["", "sizes"], {"mode": "nearest"}),
        "Reshape": (["shape"], {}),
        "Transpose": ([], {"perm": [0, 1, 3, 2]}),
        "Gather": (["index"], {"axis": 1}),
        "DepthToSpace": ([], {"blocksize": 2}),
        "Pad": (["pads"], {}),
        "ReduceMean": ([], {"axes": [2, 3]}),
        "Add": (["in"], {}),
        "Mul": (["in"], {}),
        "Sub": (["in"], {}),
        "Concat": (["in"], {"axis": 1}),
    }

    @pytest.mark.parametrize("zero_point", [np.uint8(0), np.int8(0)], ids=["unsigned", "signed"])
    @pytest.mark.parametrize("operator", OPERATORS)
    def test_islands_are_what_onnx_runtime_leaves_float(
        self, operator: str, zero_point: np.generic, tmp_path: Path
    ) -> None:
        """As its optimized graph tells: a second quantizer is left where something computes in float."""
        inputs, attributes = self.OPERATORS[operator]
        nodes = [*quantized("x", "in"), helper.make_node(operator, ["in", *inputs], ["m"], **attributes)]
        more = {
            "low": np.float32(0),
            "high": np.float32(6),
            "sizes": np.array([1, 1, 2, 2], np.float32),
            "shape": np.array([1, 4, 8, -1]),
            "index": np.array([0, 1]),
            "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        }
        model = model_of([*nodes, *quantized("m", "out")], constants(z=zero_point, **more), ["out"])
        options = onnxruntime.SessionOptions()
        options.log_severity_level, options.optimized_model_filepath = 4, str(tmp_path / "optimized.onnx")
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
        assert ("float-island" in found_by(model)) == (kinds.count("QuantizeLinear") > 1), kinds

    def test_connected_nodes_are_one_island(self) -> None:
        nodes = [*quantized("x", "in"), *convolution("in", "a"), *quantized("a float", "a")]
        nodes += [helper.make_node("Exp", ["a"], ["e"], name="one"), helper.make_node("Log", ["e"], ["l"], name="two")]
        nodes += [helper.make_node("Mul", ["l", "a"], ["m"], name="three"), *quantized("m", "out")]
        (finding,) = found_by(model_of(nodes, constants(), ["out"]))["float-island"]
        assert finding.nodes == ("one", "two", "three")
        assert finding.what == "float between integers: Exp, Log, Mul"

    def test_what_is_float_to_the_end_is_none(self) -> None:
        nodes = [*quantized("x", "in"), helper.make_node("Softplus", ["in"], ["out"])]
        assert found_by(model_of(nodes, constants(), ["out"])) == {}

    def test_tensorrt_sums_along_with_a_convolution(self) -> None:
        nodes = [*quantized("x", "in"), *convolution("in", "a")]
        nodes += [helper.make_node("Add", ["a float", "in"], ["sum"], name="add"), *quantized("sum", "out")]
        model = model_of(nodes, constants(), ["out"])
        assert found_by(model, "tensorrt") == {}
        (finding,) = found_by(model)["float-island"]
        assert finding.nodes == ("conv a", "add")

    def test_a_deep_chain(self) -> None:
        """Deeper than Python's stack."""
        nodes = quantized("x", "in")
        names = ["in", *(f"r{index}" for index in range(3000))]
        nodes += [helper.make_node("Relu", [a], [b]) for a, b in pairwise(names)]
        nodes += quantized(names[-1], "out")
        (finding,) = found_by(model_of(nodes, constants(), ["out"]))["float-island"]
        assert len(finding.nodes) > 2990


class Noise(CalibrationDataReader):
    def __init__(self) -> None:
        self.left = [{"x": np.random.default_rng(0).normal(size=(1, 8, SIDE, SIDE)).astype(np.float32)}]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self.left.pop() if self.left else None


@pytest.mark.parametrize(("activation", "islands"), [("Relu", 0), ("HardSwish", 2)])
def test_files_of_onnx_runtimes_quantizer(activation: str, islands: int, tmp_path: Path) -> None:
    """It quantizes what it knows; HardSwish it leaves float, between convolutions in integers."""
    rng = np.random.default_rng(0)
    nodes, source = [], "x"
    for index in range(3):
        nodes += [
            helper.make_node("Conv", [source, f"w{index}"], [f"c{index}"], name=f"conv {index}", pads=[1] * 4),
            helper.make_node(activation, [f"c{index}"], [f"r{index}"], name=f"activation {index}"),
        ]
        source = f"r{index}"
    weights = {f"w{index}": rng.normal(size=(8, 8, 3, 3)).astype(np.float32) for index in range(3)}
    onnx.save(model_of(nodes, weights, [source]), tmp_path / "float.onnx")
    quantize_static(tmp_path / "float.onnx", tmp_path / "quantized.onnx", Noise(), quant_format=QuantFormat.QDQ)
    found = found_by(read_onnx(tmp_path / "quantized.onnx"))
    assert [finding.nodes for finding in found.pop("float-island", [])] == [
        (f"activation {index}",) for index in range(islands)
    ]
    assert found == {}


class TestGrids:
    @pytest.mark.parametrize(("scale", "grids"), [("s", "one grid"), ("t", "different grids")])
    def test_two_quantizers_on_one_tensor(self, scale: str, grids: str) -> None:
        nodes = [*quantized("x", "one"), *quantized("x", "other", scale)]
        (finding,) = found_by(model_of(nodes, constants(t=np.float32(0.1)), ["one", "other"]))["two-quantizers"]
        assert finding.nodes == ("q one", "q other")
        assert finding.what == f"2 quantizers of {grids} read x"

    def test_a_tensor_that_is_quantized_again(self) -> None:
        nodes = [*quantized("x", "one"), *quantized("one", "two", "t")]
        (finding,) = found_by(model_of(nodes, constants(t=np.float32(0.1)), ["two"]))["two-quantizers"]
        assert (finding.nodes, finding.what) == (("q two",), "one is quantized again, on another grid")

    @pytest.mark.parametrize(("first", "second", "result"), [("s", "t", "s"), ("s", "s", "t"), ("s", "s", "s")])
    def test_scales_of_a_concatenation(self, first: str, second: str, result: str) -> None:
        nodes = [*quantized("x", "a", first), helper.make_node("Neg", ["x"], ["y"]), *quantized("y", "b", second)]
        nodes += [helper.make_node("Concat", ["a", "b"], ["c"], axis=1, name="cat"), *quantized("c", "out", result)]
        found = found_by(model_of(nodes, constants(t=np.float32(0.1)), ["out"]))
        if first == second == result:
            assert found == {}
        else:
            (finding,) = found["concat-scales"]
            assert finding.nodes == ("cat",)
            assert "0.05" in finding.what and "0.1" in finding.what


@pytest.mark.parametrize(("channels", "count"), [(8, 0), (12, 1), (24, 0), (1, 0)])
def test_depthwise_widths(channels: int, count: int) -> None:
    nodes = [
        *quantized("x", "in"),
        *convolution("in", "a", "w depthwise", group=channels),
        *quantized("a float", "out"),
    ]
    found = found_by(model_of(nodes, constants(channels), ["out"], channels), "tensorrt").get("depthwise-width", [])
    assert [finding.what for finding in found] == ["12 channels"] * count


class TestSaturatingSums:
    def found(self, weight: np.ndarray, zero_point: Any = None, **attributes: Any) -> list[str]:
        grid = {} if zero_point is None else {"z": zero_point}
        nodes = [*quantized("x", "in"), *convolution("in", "a", "wide", **attributes), *quantized("a float", "out")]
        graph = model_of(nodes, constants(wide=weight.astype(np.int8), **grid), ["out"])
        return [finding.what for finding in found_by(graph).get("saturating-sums", [])]

    @pytest.mark.parametrize(
        ("pair", "count"),
        [
            ((64, 64), 0),
            ((127, 1), 0),
            ((127, 2), 1),
            ((-64, -64), 0),
            ((-100, -29), 1),
            ((127, -127), 0),
            ((65, 64), 1),
        ],
    )
    def test_by_the_two_largest_weights_of_a_channel(self, pair: tuple[int, int], count: int) -> None:
        weight = np.zeros((8, 8, 3, 3))
        weight[3, 0, 0, 0], weight[3, 7, 2, 2] = pair
        weight[4] = -weight[3]
        weight[5, 0, 0, 0] = 127
        assert self.found(weight) == [f"two weights of 2 of its 8 channels add up to {abs(sum(pair))}"] * count

    def test_of_a_depthwise_convolution_or_of_signed_activations_there_are_none(self) -> None:
        assert self.found(np.full((8, 1, 3, 3), 127), group=8) == []
        assert self.found(np.full((8, 8, 3, 3), 127), zero_point=np.int8(0)) == []

    def test_onnx_runtimes_own_quantizer_makes_them_unless_told_not_to(self, tmp_path: Path) -> None:
        nodes = [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4), helper.make_node("Relu", ["c"], ["r"])]
        weights = {"w": np.random.default_rng(0).normal(size=(8, 8, 3, 3)).astype(np.float32)}
        onnx.save(model_of(nodes, weights, ["r"]), tmp_path / "float.onnx")
        for reduced in (False, True):
            quantize_static(
                tmp_path / "float.onnx",
                tmp_path / "quantized.onnx",
                Noise(),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range=reduced,
            )
            assert ("saturating-sums" in found_by(read_onnx(tmp_path / "quantized.onnx"))) == (not reduced)


@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=[] if name.startswith("mobile") else pytest.mark.slow) for name in FAMILIES]
)
def test_our_files_have_no_errors(family: str) -> None:
    lowered, for_tensorrt = (lower(master_of(family), target) for target in ("ort-cpu", "trt8"))
    assert found_by(lowered) == {}
    assert found_by(for_tensorrt, "tensorrt") == {}
    # By ONNX Runtime's profile as by the graph that it makes: the convolutions that run in integer are the same.
    for graph in (lowered, for_tensorrt):
        assert len(ran_in_integer(graph)) == integer_kernels(graph).integer
    floats = found_by(for_tensorrt)["float-convolution"]
    convolutions = [node for node in for_tensorrt.graph.node if node.op_type == "Conv"]
    assert len(floats) == len(convolutions) - integer_kernels(for_tensorrt).integer > 10


class TestCommand:
    def run(self, *arguments: object) -> Any:
        return CliRunner().invoke(app, ["lint", *map(str, arguments)])

    def write(self, path: Path, *, right: bool = True) -> Path:
        nodes = [*quantized("x", "in"), *convolution("in", "a"), *(quantized("a float", "out") if right else [])]
        path.write_bytes(model_of(nodes, constants(), ["out" if right else "a float"]).SerializeToString())
        return path

    def test_no_findings(self, tmp_path: Path) -> None:
        result = self.run(self.write(tmp_path / "q.onnx"))
        assert (result.exit_code, result.stdout) == (0, "no findings\n")

    def test_errors_exit_with_1(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "q.onnx", right=False)
        result = self.run(path)
        assert result.exit_code == 1
        assert "conv a" in result.stdout and "fix: " in result.stdout
        assert "1 of its quantized convolutions and products ran in float" in result.stderr
        found = json.loads(self.run(path, "--json").stdout)
        assert (found["errors"], found["warnings"]) == (1, 0)
        assert [finding["name"] for finding in found["findings"]] == ["float-convolution"]
        assert self.run(path, "--runtime", "tensorrt").exit_code == 0

    def test_wrong_use(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "q.onnx")
        result = self.run(path, "--runtime", "tensort")
        assert (result.exit_code, "did you mean 'tensorrt'" in result.stderr) == (2, True)
        assert self.run(tmp_path / "missing.onnx").exit_code == 2

    def test_a_model_that_cannot_run(self) -> None:
        model = model_of([*quantized("x", "in"), *convolution("in", "a")], constants(), ["a float"])
        model.graph.node[-1].domain = "nobody"
        model.opset_import.append(helper.make_opsetid("nobody", 1))
        with pytest.raises(EdgedetError, match="could not run the model"):
            lint_graph(model)
