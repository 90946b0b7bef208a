"""`edgedet inspect`, on layers that trtexec would have written and on ONNX files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
import typer
from onnx import TensorProto, helper
from tiny_onnx import SPEC, tiny_model, write_tiny_model
from typer.testing import CliRunner

from edgedet.cli import inspect
from edgedet.errors import EdgedetError
from edgedet.graph.inspect import inspect_onnx_file

verb = typer.Typer()
verb.command()(inspect.command)

CONVOLUTION, COPY = "a.weight + a/QuantizeLinear + a/Conv", "Reformatting CopyNode for Output Tensor 0 to a/Conv"


def run(*arguments: object) -> Any:
    return CliRunner().invoke(verb, list(map(str, arguments)))


def failure(*arguments: object) -> EdgedetError:
    error = run(*arguments).exception
    assert isinstance(error, EdgedetError), error
    return error


def tensor(name: str, held: str) -> dict[str, Any]:
    return {"Name": name, "Dimensions": [1, 8, 4, 4], "Format/Datatype": held}


@pytest.fixture
def layers(tmp_path: Path) -> Path:
    convolution = {
        "Name": CONVOLUTION,
        "LayerType": "CaskConvolution",
        "ParameterType": "Convolution",
        "Groups": 8,
        "Inputs": [tensor("images", "Row major Int8 format")],
        "Outputs": [tensor("a", "Row major linear FP16 format")],
    }
    copy = {
        "Name": COPY,
        "LayerType": "Reformat",
        "Inputs": [tensor("a", "Row major linear FP16 format")],
        "Outputs": [tensor("boxes", "Row major linear FP32")],
    }
    plugin = {"Name": "nms", "LayerType": "PluginV3", "PluginType": "EdgeDetDIoUNMS", "Inputs": [], "Outputs": []}
    path = tmp_path / "layers.json"
    path.write_text(json.dumps({"Layers": [convolution, copy, plugin], "Bindings": ["images", "boxes"]}))
    return path


def write_profile(path: Path, times: dict[str, float]) -> Path:
    rows = [{"name": name, "timeMs": 10 * time, "averageMs": time, "medianMs": time} for name, time in times.items()]
    path.write_text(json.dumps([{"count": 10}, *rows]))
    return path


class TestEngines:
    def test_a_summary_and_findings_are_shown(self, layers: Path) -> None:
        result = run(layers)
        assert result.exit_code == 0
        first, images, *_ = result.stdout.splitlines()
        assert first == f"{layers}: 3 layers, 1 reformat, 0 lone quantizers, plugins EdgeDetDIoUNMS"
        assert images == "  in  images 1x8x4x4 INT8 LINEAR"
        assert "warning: reformat, 1" in result.stdout and "fix: edgedet build" in result.stdout
        assert COPY not in result.stdout and " ms" not in result.stdout

    def test_layers_are_listed_when_asked_for(self, layers: Path) -> None:
        assert COPY in run(layers, "--layers").stdout

    def test_a_profile_adds_times(self, layers: Path, tmp_path: Path) -> None:
        profile = write_profile(tmp_path / "profile.json", {CONVOLUTION: 0.3, COPY: 0.1})
        shown = run(layers, "--profile", profile).stdout
        assert "0.4 ms a run" in shown and "0.1 ms, 25.0% of the time" in shown

    def test_another_profile_adds_what_is_slower_than_there(self, layers: Path, tmp_path: Path) -> None:
        profile = write_profile(tmp_path / "int8.json", {CONVOLUTION: 0.3, COPY: 0.1})
        against = write_profile(tmp_path / "fp16.json", {"a/Conv": 0.2})
        shown = run(layers, "--profile", profile, "--against", against).stdout
        assert "1 depthwise convolution in INT8 compared" in shown and "0.3 ms in INT8, 0.2 ms in FP16" in shown

    def test_json_holds_every_layer_and_finding(self, layers: Path, tmp_path: Path) -> None:
        profile = write_profile(tmp_path / "profile.json", {CONVOLUTION: 0.3, COPY: 0.1})
        result = json.loads(run(layers, "--profile", profile, "--json").stdout)
        assert (result["detailed"], result["compared"]) == (True, None)
        assert result["milliseconds"] == pytest.approx(0.4)
        assert [layer["precision"] for layer in result["layers"]] == ["INT8", "FP16", "unknown"]
        assert result["layers"][0]["nodes"] == ["a.weight", "a/QuantizeLinear", "a/Conv"]
        assert [finding["name"] for finding in result["findings"]] == ["reformat"]
        assert [(port["name"], port["is_input"]) for port in result["ports"]] == [("images", True), ("boxes", False)]

    def test_of_names_alone_it_says_how_to_get_more(self, tmp_path: Path) -> None:
        path = tmp_path / "layers.json"
        path.write_text(json.dumps({"Layers": ["a/Conv", "b/Conv"], "Bindings": ["images"]}))
        shown = run(path, "--layers").stdout
        assert "--profilingVerbosity=detailed" in shown and "b/Conv" in shown and "no findings" not in shown

    def test_neither_tensorrt_nor_onnx_nor_pytorch_is_needed(self, layers: Path) -> None:
        program = (
            "import sys\n"
            "sys.modules.update(dict.fromkeys(['tensorrt', 'polygraphy', 'onnx', 'onnx_ir', 'onnxruntime', 'torch']))\n"
            "from edgedet.engine.inspect.inspection import inspect_layer_file\n"
            "from pathlib import Path\n"
            "print(inspect_layer_file(Path(sys.argv[1])).summary.layers)"
        )
        done = subprocess.run([sys.executable, "-c", program, layers], capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == ("3\n", "")

    def test_names_from_strangers_do_not_drive_the_terminal(self, tmp_path: Path) -> None:
        path = tmp_path / "layers.json"
        path.write_text(json.dumps({"Layers": ["\x1b[2Jgone"], "Bindings": ["\x1b[31m"]}))
        result = run(path, "--layers")
        assert result.exit_code == 0 and "\x1b" not in result.stdout

    def test_times_to_compare_with_are_asked_for(self, layers: Path, tmp_path: Path) -> None:
        error = failure(layers, "--against", write_profile(tmp_path / "fp16.json", {"a/Conv": 0.2}))
        assert "no times to compare" in error.what and "--profile" in str(error.fix)

    def test_a_file_that_is_too_large_or_missing_is_refused(self, tmp_path: Path) -> None:
        large = tmp_path / "large.json"
        with large.open("wb") as file:
            file.truncate(65 << 20)
        assert "larger than 64 MiB" in failure(large).what
        assert "cannot read the file" in failure(tmp_path / "missing.json").what


def test_options_that_would_do_nothing_are_refused(layers: Path, tmp_path: Path) -> None:
    for option in ("--force", "--allow-code", "--profile-runs=3", "--operators=lib.so"):
        assert failure(layers, option).where == option.partition("=")[0]
    assert failure(write_tiny_model(tmp_path / "model.onnx"), "--profile", "p.json").where == "--profile"


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    error = failure(tmp_path / "model.engin")
    assert error.what == "unknown kind of file '.engin'" and "'.engine'" in str(error.fix)


class TestOnnxFiles:
    def test_operators_and_the_interface_are_listed(self, tmp_path: Path) -> None:
        contents = inspect_onnx_file(write_tiny_model(tmp_path / "model.onnx", batch="batch"))
        assert {operator.name: operator.nodes for operator in contents.operators} == {
            "Reshape": 2,
            "Add": 1,
            "AveragePool": 1,
            "Mul": 1,
            "ReduceMean": 1,
            "Transpose": 1,
        }
        assert contents.opsets == {"ai.onnx": 18}
        assert [(value.name, value.dimensions, value.type) for value in contents.inputs] == [
            ("images", ("batch", 3, 64, 64), "FLOAT")
        ]
        assert contents.spec is None and contents.spec_fault is not None

    def test_the_specification_is_summed_up(self, tmp_path: Path) -> None:
        model = tiny_model()
        names = {"names": "{0: 'red', 1: 'green', 2: 'blue'}", "imgsz": "[64, 64]"}
        helper.set_model_props(model, {"edgedet": SPEC.to_json(), **names})
        onnx.save(model, tmp_path / "model.onnx")
        assert inspect_onnx_file(tmp_path / "model.onnx").spec == SPEC
        shown = run(tmp_path / "model.onnx").stdout
        assert "tiny 64x64; 3 classes: red, green, blue" in shown
        assert "  in  images 1x3x64x64 FLOAT" in shown

    def test_a_file_without_a_specification_has_no_fault(self, tmp_path: Path) -> None:
        contents = inspect_onnx_file(write_tiny_model(tmp_path / "model.onnx", metadata=None))
        assert (contents.spec, contents.spec_fault) == (None, None)

    def test_a_broken_specification_is_said_and_the_rest_shown(self, tmp_path: Path) -> None:
        shown = run(write_tiny_model(tmp_path / "model.onnx", metadata="[]")).stdout
        assert "specification is broken" in shown and "AveragePool" in shown

    def quantized(self, path: Path) -> Path:
        """Three convolutions, of which one computes of integers, and two custom operators, of which one is defined."""

        def dequantized(source: str, name: str) -> list[onnx.NodeProto]:
            return [helper.make_node("DequantizeLinear", [source, "s", "z"], [name])]

        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            *dequantized("q", "d"),
            *dequantized("w", "dw"),
            helper.make_node("MaxPool", ["d"], ["m"], kernel_shape=[1, 1]),
            helper.make_node("Conv", ["m", "dw"], ["a"]),
            helper.make_node("Conv", ["a", "dw"], ["b"]),
            helper.make_node("Conv", ["d", "float w"], ["unused"]),
            helper.make_node("Mystery", ["b"], ["c"], domain="nobody"),
            helper.make_node("Twice", ["c"], ["y"], domain="file"),
        ]
        graph = helper.make_graph(
            nodes,
            "handmade",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 4, 4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 4, 4])],
            [
                helper.make_tensor("s", TensorProto.FLOAT, [], [0.1]),
                helper.make_tensor("z", TensorProto.INT8, [], [0]),
                helper.make_tensor("w", TensorProto.INT8, [2, 2, 1, 1], [1, 2, 3, 4]),
                helper.make_tensor("float w", TensorProto.FLOAT, [2, 2, 1, 1], [1, 2, 3, 4]),
            ],
        )
        opsets = [helper.make_opsetid(domain, version) for domain, version in (("", 17), ("nobody", 1), ("file", 3))]
        twice = helper.make_function(
            "file", "Twice", ["i"], ["o"], [helper.make_node("Add", ["i", "i"], ["o"])], [helper.make_opsetid("", 17)]
        )
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=[twice]), path)
        return path

    def test_quantized_nodes_and_custom_operators_are_told(self, tmp_path: Path) -> None:
        contents = inspect_onnx_file(self.quantized(tmp_path / "model.onnx"))
        operators = {operator.name: operator for operator in contents.operators}
        counts = {name: (operator.nodes, operator.quantized) for name, operator in operators.items()}
        assert counts == {
            "Conv": (3, 1),
            "DequantizeLinear": (2, 0),
            "MaxPool": (1, 1),
            "QuantizeLinear": (1, 0),
            "file::Twice": (1, 0),
            "nobody::Mystery": (1, 0),
        }
        assert operators["QuantizeLinear"].types == ("INT8",)
        assert [(name, one.has_body) for name, one in operators.items() if one.is_custom] == [
            ("file::Twice", True),
            ("nobody::Mystery", False),
        ]
        assert contents.parameters == 10

    def test_what_a_person_sees(self, tmp_path: Path) -> None:
        lines = run(self.quantized(tmp_path / "model.onnx")).stdout.splitlines()
        assert lines[0].endswith("9 nodes, opset ai.onnx 17, nobody 1, file 3, IR 8")
        assert any(line.split() == ["Conv", "3", "1", "FLOAT"] for line in lines)
        assert any(
            "nobody::Mystery" in line and line.rstrip().endswith("custom, not defined in the file") for line in lines
        )

    def test_json_holds_the_same(self, tmp_path: Path) -> None:
        result = json.loads(run(self.quantized(tmp_path / "model.onnx"), "--json").stdout)
        assert result["opsets"] == {"ai.onnx": 17, "nobody": 1, "file": 3}
        assert {operator["name"] for operator in result["operators"]} >= {"Conv", "nobody::Mystery"}

    def test_what_is_no_onnx_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "model.onnx").write_bytes(b"\xff" * 100)
        assert "not a valid ONNX model" in failure(tmp_path / "model.onnx").what
