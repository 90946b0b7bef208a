"""Where two models first compute something else: faults are put into one tensor and must be found in that one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from float16_graphs import lowered_of
from hypothesis import given
from hypothesis import strategies as st
from int8_masters import SIDE, master_of
from onnx import ModelProto, TensorProto, helper, numpy_helper
from tiny_detector import TinyDetector, tiny_spec
from typer.testing import CliRunner

from edgedet.cli.app import app
from edgedet.errors import CheckFailedError, EdgedetError
from edgedet.graph.comparison import onnx_values
from edgedet.graph.comparison.grid import Grid
from edgedet.graph.comparison.inputs import inputs_for
from edgedet.graph.comparison.matching import Pair
from edgedet.graph.comparison.points import Point
from edgedet.graph.comparison.result import Comparison, finding, require_no_divergence
from edgedet.graph.comparison.run import compare_files, compare_sides
from edgedet.graph.comparison.side import onnx_side, torch_side
from edgedet.graph.comparison.tolerance import distance
from edgedet.graph.export import export_onnx
from edgedet.graph.integer_kernels import integer_kernels
from edgedet.graph.reading import read_onnx
from edgedet.graph.source import find_model
from edgedet.graph.targets import lower
from edgedet.graph.verify import FLOAT16_TOLERANCE, Images, verification_images
from edgedet.models.checkpoint import save_checkpoint
from edgedet.models.detector import Detector
from edgedet.quant.calibrate import fit_to_noise

MODEL = "mobilenetv2_0.35"
BLOCK = "backbone.features.4.conv"


@lru_cache
def graph_for(target: str) -> ModelProto:
    return lower(master_of(MODEL), target)


@lru_cache
def one_image() -> Images:
    return Images("one image", verification_images(None).images[:1])


def compared(a: ModelProto, b: ModelProto) -> Comparison:
    sides = onnx_side(a, Path("a.onnx")), onnx_side(b, Path("b.onnx"))
    return compare_sides(*sides, inputs_for(*sides, images=one_image()))


def changed(model: ModelProto, name: str, change: Callable[[np.ndarray], object]) -> ModelProto:
    """A copy with another constant; `change` may work in place."""
    result = ModelProto()
    result.CopyFrom(model)
    (tensor,) = (tensor for tensor in result.graph.initializer if tensor.name == name)
    array = numpy_helper.to_array(tensor).copy()
    change(array)
    tensor.CopyFrom(numpy_helper.from_array(array, name))
    return result


def first_of(comparison: Comparison) -> str:
    assert comparison.first is not None
    return comparison.first.name


class TestAgreement:
    @pytest.mark.parametrize(
        ("a", "b"),
        [
            ("master", "ort-cpu"),
            ("ort-cpu", "master"),
            ("master", "trt8"),
            ("ort-cpu", "ort-cpu"),
            ("fp32", "ort-cpu"),
            ("master", "fp32"),
        ],
    )
    def test_every_tensor_of_a_lowering_agrees_by_itself(self, a: str, b: str) -> None:
        found = compared(graph_for(a), graph_for(b))
        assert found.first is None, finding(found)
        assert found.agrees
        only_in_a = [name for name in found.only_in_a if not (a != b and name.startswith("head.outputs"))]
        assert only_in_a == (["decode/DequantizeLinear_output"] if (a, b) == ("master", "fp32") else [])
        assert {"boxes", "scores"} <= {tensor.name for tensor in found.tensors}
        require_no_divergence(found)

    def test_a_float16_file_agrees(self) -> None:
        """Its scores are cast before the sigmoid: they are no other tensor for it."""
        found = compared(graph_for("fp32"), lowered_of("mobilenetv2_0.35", "fp16"))
        assert found.first is None, finding(found)
        assert "scores" in {tensor.name_in_b for tensor in found.tensors}
        assert found.agreement is not None
        assert found.agreement.tolerance == FLOAT16_TOLERANCE

    def test_float16_quantizers_are_looked_at_as_they_run_in_earnest(self) -> None:
        """Left to ONNX Runtime's fusions, a bias in steps of both scales is infinite in float16."""
        found = compared(lowered_of("mobilenetv2_0.35", "trt10"), lowered_of("mobilenetv2_0.35", "trt11"))
        assert found.first is None, finding(found)
        assert len([tensor for tensor in found.tensors if tensor.unit == "steps"]) > 50

    def test_what_rounding_adds_up_to_is_told_beside_it(self) -> None:
        found = compared(graph_for("master"), graph_for("ort-cpu"))
        steps = [tensor for tensor in found.tensors if tensor.unit == "steps"]
        assert max(tensor.error for tensor in steps) < 0.6 < max(tensor.accumulated for tensor in steps)

    def test_looking_at_tensors_keeps_integer_kernels(self, monkeypatch: pytest.MonkeyPatch) -> None:
        opened: list[ModelProto] = []
        real = onnx_values.open_session

        def remember(data: bytes, path: Path, **options: Any) -> Any:
            if options["optimize"]:
                opened.append(onnx.load_model_from_string(data))
            return real(data, path, **options)

        monkeypatch.setattr(onnx_values, "open_session", remember)
        model = graph_for("ort-cpu")
        side = onnx_side(model, Path("b.onnx"))
        side.values.run(np.zeros((1, 3, SIDE, SIDE), np.float32), side.values.points)
        assert len(opened[0].graph.output) > 100
        assert integer_kernels(opened[0]) == integer_kernels(model)


def times(factor: float) -> Callable[[np.ndarray], object]:
    return lambda array: array.__imul__(array.dtype.type(factor))


def plus(number: float, place: int) -> Callable[[np.ndarray], object]:
    return lambda array: array.put(place, array.flat[place] + number)


FAULTS: dict[str, tuple[str, Callable[[np.ndarray], object], str]] = {
    "one weight": (f"{BLOCK}.2/QuantizeLinear/integers", plus(10, 3), f"{BLOCK}.2/"),
    "one bias": (f"{BLOCK}.2/Conv/bias/integers", plus(4000, 1), f"{BLOCK}.2/"),
    "a scale": (f"{BLOCK}.1.2/QuantizeLinear/unsigned_scale", times(1.02), f"{BLOCK}.1.2/"),
    "a finer scale": (f"{BLOCK}.1.2/QuantizeLinear/unsigned_scale", times(0.98), f"{BLOCK}.1.2/"),
    "a weight's scale": (f"{BLOCK}.0.0/QuantizeLinear/y_scale", plus(0.1, 0), f"{BLOCK}.0.2/"),
    "a zero point": ("decode/QuantizeLinear/unsigned_zero_point", lambda array: array.fill(127), "decode/"),
    "the last bias": ("head.outputs.2/Conv/3/bias/integers", plus(4000, 0), "decode/Slice_1"),
}


class TestFaults:
    """Each is put into the lowering, behind whose first wrong tensor everything else is wrong too."""

    @pytest.mark.parametrize("fault", FAULTS)
    def test_of_a_constant(self, fault: str) -> None:
        name, change, tensor = FAULTS[fault]
        found = compared(graph_for("master"), changed(graph_for("ort-cpu"), name, change))
        assert first_of(found).startswith(tensor), finding(found)
        assert not found.agrees
        # The tensor itself, and at most the one computed of it: of its own wrong input it is computed rightly.
        assert sum(one.diverges for one in found.tensors) <= 2
        with pytest.raises(CheckFailedError, match="diverges first") as caught:
            require_no_divergence(found)
        assert first_of(found) in str(caught.value)

    def test_of_a_float_weight(self) -> None:
        wrong = changed(graph_for("fp32"), f"{BLOCK}.2.weight", times(1.01))
        found = compared(graph_for("fp32"), wrong)
        assert first_of(found) == f"{BLOCK}.2/Conv_output"
        assert [one.name for one in found.tensors if one.diverges] == [f"{BLOCK}.2/Conv_output"]

    def test_a_float_detector_finds_a_wrong_operator_in_an_integer_one(self) -> None:
        wrong = changed(graph_for("ort-cpu"), f"{BLOCK}.2/QuantizeLinear/integers", times(-1))
        found = compared(graph_for("fp32"), wrong)
        assert first_of(found) == f"{BLOCK}.2/Conv_output"
        assert found.first is not None and found.first.quantile == 0.999

    def test_of_an_operator(self) -> None:
        model = ModelProto()
        model.CopyFrom(graph_for("fp32"))
        add = next(node for node in model.graph.node if node.op_type == "Add")
        add.op_type = "Mul"
        found = compared(graph_for("fp32"), model)
        assert found.first is not None
        assert add.name in found.first.computed_by, "its result has no partner: what is computed of it is named"
        assert add.output[0] in found.only_in_a

    def test_of_a_number_that_is_none(self) -> None:
        wrong = changed(graph_for("fp32"), f"{BLOCK}.2.bias", lambda a: a.fill(np.nan))
        found = compared(graph_for("fp32"), wrong)
        assert first_of(found) == f"{BLOCK}.2/Conv_output"
        assert "not finite" in finding(found)
        assert found.agreement is None


def in_half_precision(model: ModelProto) -> ModelProto:
    """The same in 16 bits, but for its input and outputs."""
    result = ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    scales = {node.input[2] for node in graph.node if node.op_type == "Resize"}
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in scales:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    ends = ("images", "boxes", "scores")
    for node in graph.node:
        node.input[:] = [f"{name} in half" if name in ends else name for name in node.input]
        node.output[:] = [f"{name} in half" if name in ends else name for name in node.output]
    casts = [("images", "images in half", TensorProto.FLOAT16)]
    casts += [(f"{name} in half", name, TensorProto.FLOAT) for name in ends[1:]]
    first, *last = (helper.make_node("Cast", [source], [name], to=type_) for source, name, type_ in casts)
    nodes = [first, *graph.node, *last]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return onnx.shape_inference.infer_shapes(result, strict_mode=True)


def test_half_precision_has_a_tolerance_of_its_own() -> None:
    model = graph_for("fp32")
    found = compared(model, in_half_precision(model))
    assert found.agrees, finding(found)
    assert found.only_in_a == ()
    assert all(tensor.tolerance == pytest.approx(0.01) for tensor in found.tensors)
    wrong = changed(model, f"{BLOCK}.2.weight", times(1.05))
    assert first_of(compared(model, in_half_precision(wrong))) == f"{BLOCK}.2/Conv_output"


def grids() -> st.SearchStrategy[Grid]:
    def made(scale: float, zero_point: int) -> Grid:
        return Grid(np.array(scale, np.float32), np.array(zero_point, np.uint8), 0, 255)

    return st.builds(made, st.floats(2**-10, 8, width=32), st.integers(0, 255))


class TestTolerance:
    def point(self, grid: Grid | None) -> Point:
        return Point("x", "x", frozenset({"x"}), "Conv", None, grid, None, False, None)

    @given(grids(), st.lists(st.floats(-1, 1), min_size=1, max_size=50), st.sampled_from([-1, 1]))
    def test_rounding_once_is_within_it_and_a_step_beyond_is_not(
        self, grid: Grid, numbers: list[float], shift: int
    ) -> None:
        low, high = grid.ends
        exact = (low + (np.array(numbers) + 1) / 2 * (high - low)).astype(np.float32)
        codes = np.clip(np.rint(exact / grid.scale) + grid.zero_point, 0, 255)
        pair = Pair(self.point(grid), self.point(grid), True, ())
        assert distance(pair, exact, grid.values(codes)).ratio <= 1
        codes[0] += shift if 0 <= codes[0] + shift <= 255 else -shift
        beside_the_middle = abs(abs(exact[0] / grid.scale % 1) - 0.5) < 0.02
        assert distance(pair, exact, grid.values(codes)).ratio > 1 or beside_the_middle

    def test_ends_of_grids_are_held_too(self) -> None:
        one = Grid(np.array(0.1, np.float32), np.array(0, np.uint8), 0, 255)
        other = replace(one, scale=np.array(0.11, np.float32))
        zeros = np.zeros((1, 4), np.float32)
        assert distance(Pair(self.point(one), self.point(one), True, ()), zeros, zeros).ratio <= 1
        assert distance(Pair(self.point(one), self.point(other), True, ()), zeros, zeros).ratio > 1

    def test_a_bias_on_the_grid_of_the_sum(self) -> None:
        grid = Grid(np.array(0.1, np.float32), np.array(0, np.uint8), 0, 255)
        point = replace(self.point(grid), bias_step=np.array([[[0.0]], [[1.0]]]))
        exact = np.full((1, 2, 1, 1), 5.0, np.float32)
        pair = Pair(self.point(grid), point, True, ())
        assert distance(pair, exact, exact + np.array([[[0.0]], [[0.5]]], np.float32)).ratio <= 1
        assert distance(pair, exact, exact + np.array([[[0.5]], [[0.0]]], np.float32)).ratio > 1
        assert distance(pair, exact, exact + np.array([[[0.0]], [[0.6]]], np.float32)).ratio > 1

    def test_a_step_for_each_index_of_the_last_axis(self) -> None:
        grid = Grid(np.array([[0.1, 1.0]], np.float32), np.zeros((1, 2), np.uint8), 0, 255)
        pair = Pair(self.point(grid), self.point(grid), True, ())
        exact = np.full((3, 2), 5.0, np.float32)
        assert distance(pair, exact, exact + np.array([[0.0, 0.5]], np.float32)).ratio <= 1
        assert distance(pair, exact, exact + np.array([[0.5, 0.0]], np.float32)).ratio > 1

    @pytest.mark.parametrize("alike", [True, False])
    def test_of_no_values(self, alike: bool) -> None:
        nothing = np.zeros((0, 3), np.float32)
        assert distance(Pair(self.point(None), self.point(None), alike, ()), nothing, nothing).error == 0

    def test_loosened(self) -> None:
        pair = Pair(self.point(None), self.point(None), True, ())
        exact, found = np.ones(10), np.ones(10) + 2e-4
        assert distance(pair, exact, found).ratio == pytest.approx(2, rel=0.01)
        assert distance(pair, exact, found, loosen=3).ratio < 1


class TestCheckpoint:
    def test_is_held_to_its_file(self, tmp_path: Path) -> None:
        detector, spec = TinyDetector().eval(), tiny_spec()
        export_onnx(detector, spec, tmp_path / "tiny.onnx")
        model = read_onnx(tmp_path / "tiny.onnx")
        checkpoint = torch_side(detector, spec, Path("tiny.pt"))
        file = onnx_side(model, Path("tiny.onnx"))
        inputs = inputs_for(checkpoint, file, images=one_image())
        found = compare_sides(checkpoint, file, inputs)
        assert found.agrees, finding(found)
        assert {"backbone.2/Relu_output", "down.2/Clip_output", "boxes"} <= {tensor.name for tensor in found.tensors}
        wrong = onnx_side(changed(model, "down.0.bias", plus(0.01, 3)), Path("wrong.onnx"))
        for a, b in ((checkpoint, wrong), (wrong, checkpoint)):
            assert first_of(compare_sides(a, b, inputs)) == "down.2/Clip_output"

    @pytest.mark.slow
    def test_of_integers_is_held_to_its_files(self) -> None:
        detector, spec = find_model(MODEL, classes=3, size=(SIDE, SIDE))
        assert isinstance(detector, Detector)
        quantized = fit_to_noise(detector, spec.preprocess)
        checkpoint = torch_side(quantized, spec, Path("q.pt"))
        for target in ("master", "ort-cpu"):
            file = onnx_side(graph_for(target), Path("q.onnx"))
            found = compare_sides(checkpoint, file, inputs_for(checkpoint, file, images=one_image()))
            assert found.agrees, finding(found)
            if target == "ort-cpu":
                assert all(name.startswith("head.outputs") for name in found.only_in_a)
            else:
                assert found.only_in_a == ()
            # The exporter does not say what the parts of a split were traced from.
            only_in_b = [name for name in found.only_in_b if not name.startswith("head.outputs")]
            assert only_in_b == ["decode/Split_output_0", "decode/Split_output_1"]
        wrong = changed(graph_for("ort-cpu"), f"{BLOCK}.2/Conv/bias/integers", plus(4000, 1))
        file = onnx_side(wrong, Path("q.onnx"))
        for a, b in ((checkpoint, file), (file, checkpoint)):
            found = compare_sides(a, b, inputs_for(a, b, images=one_image()))
            assert first_of(found) == f"{BLOCK}.2/DequantizeLinear_1_output"

    @pytest.mark.slow
    def test_takes_the_size_of_the_file_beside_it(self, tmp_path: Path) -> None:
        detector, spec = find_model(MODEL, classes=3, size=(96, 96))
        save_checkpoint(tmp_path / "best.pt", detector, spec.model_copy(update={"random_weights": False}))
        (tmp_path / "small.onnx").write_bytes(graph_for("fp32").SerializeToString())
        found = compare_files(tmp_path / "best.pt", tmp_path / "small.onnx")
        assert found.agrees, finding(found)
        assert found.engines[0].startswith("torch") and found.engines[1].startswith("onnxruntime")


def foreign(suffix: str = "", *, side: int = 8, factor: float = 1.0, activation: str = "Relu") -> ModelProto:
    """A small network of somebody else: no specification, an input that is no image."""
    weight = np.random.default_rng(0).normal(size=(4, 2, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["in", "w"], [f"c{suffix}"], pads=[1] * 4),
        helper.make_node(activation, [f"c{suffix}"], [f"r{suffix}"]),
        helper.make_node("Mul", [f"r{suffix}", "k"], [f"m{suffix}"]),
        helper.make_node("Softmax", [f"m{suffix}"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, [1, 2, side, side])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 4, side, side])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.float32(factor), "k")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def saved(model: ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


class TestForeignFiles:
    def test_are_compared_on_noise(self, tmp_path: Path) -> None:
        one, other = saved(foreign(), tmp_path / "a.onnx"), saved(foreign(factor=1.1), tmp_path / "b.onnx")
        assert compare_files(one, one).agrees
        found = compare_files(one, other)
        assert (found.source, found.images, found.agreement) == ("noise", 0, None)
        assert first_of(found) == "m"

    def test_other_names_are_matched_by_what_they_are_computed_of(self, tmp_path: Path) -> None:
        one, other = saved(foreign(), tmp_path / "a.onnx"), saved(foreign(" of b", factor=1.1), tmp_path / "b.onnx")
        found = compare_files(one, other)
        assert [(tensor.name, tensor.name_in_b) for tensor in found.tensors] == [
            ("r", "r of b"),
            ("m", "m of b"),
            ("out", "out"),
        ]
        assert first_of(found) == "m"

    def test_nodes_in_another_order_are_sorted(self, tmp_path: Path) -> None:
        model = foreign()
        nodes = list(model.graph.node)[::-1]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        with pytest.raises(onnx.checker.ValidationError):
            onnx.checker.check_model(model)
        found = compare_files(saved(foreign(factor=1.1), tmp_path / "a.onnx"), saved(model, tmp_path / "b.onnx"))
        assert ([tensor.name for tensor in found.tensors], first_of(found)) == (["r", "m", "out"], "m")

    def test_nodes_in_a_circle(self, tmp_path: Path) -> None:
        model = foreign()
        model.graph.node[0].input[0] = "m"
        with pytest.raises(EdgedetError, match="not a valid ONNX"):
            compare_files(saved(model, tmp_path / "a.onnx"), tmp_path / "a.onnx")

    def test_an_image_without_specification_is_normalised_as_imagenets_are(self, tmp_path: Path) -> None:
        model = graph_for("fp32")
        plain = ModelProto()
        plain.CopyFrom(model)
        del plain.metadata_props[:]
        found = compare_files(saved(plain, tmp_path / "a.onnx"), saved(plain, tmp_path / "b.onnx"))
        assert found.agrees
        assert (found.source, found.agreement) == ("generated images", None)


class TestWrongUse:
    def test_other_sizes(self, tmp_path: Path) -> None:
        one, other = saved(foreign(), tmp_path / "a.onnx"), saved(foreign(side=16), tmp_path / "b.onnx")
        with pytest.raises(EdgedetError, match=r"takes 1x2x8x8 and .* 1x2x16x16"):
            compare_files(one, other)

    def test_other_preprocessing_is_a_difference(self) -> None:
        a, b = (onnx_side(graph_for("fp32"), Path(name)) for name in ("a", "b"))
        assert b.spec is not None
        preprocess = b.spec.preprocess.model_copy(update={"mean": (0.0, 0.0, 0.0)})
        b = replace(b, spec=b.spec.model_copy(update={"preprocess": preprocess}))
        with pytest.raises(CheckFailedError, match=r"otherwise than b: mean \(0.485"):
            inputs_for(a, b)

    def test_nothing_in_common(self, tmp_path: Path) -> None:
        other = foreign(" of b", activation="HardSwish")
        del other.graph.node[2:]
        other.graph.node[1].output[0] = "end"
        other.graph.node[0].op_type, other.graph.output[0].name = "ConvTranspose", "end"
        other.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((2, 4, 3, 3), np.float32), "w"))
        one = saved(foreign(), tmp_path / "a.onnx")
        with pytest.raises(EdgedetError, match="no tensor in common"):
            compare_files(one, saved(other, tmp_path / "b.onnx"))

    def test_images_for_what_takes_none(self, tmp_path: Path) -> None:
        one = saved(foreign(), tmp_path / "a.onnx")
        with pytest.raises(EdgedetError, match="takes no images"):
            compare_files(one, one, data=tmp_path)

    def test_two_inputs(self, tmp_path: Path) -> None:
        model = foreign()
        model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
        one = saved(model, tmp_path / "a.onnx")
        with pytest.raises(EdgedetError, match=r"does not have one input of floats, but in .*, more"):
            compare_files(one, one)

    @pytest.mark.parametrize(
        ("content", "message"),
        [(b"", "not a valid ONNX"), (b"\x08\x08garbage", "not a valid ONNX"), (None, "no such model file")],
    )
    def test_no_model(self, content: bytes | None, message: str, tmp_path: Path) -> None:
        if content is not None:
            (tmp_path / "a.onnx").write_bytes(content)
        with pytest.raises(EdgedetError, match=message):
            compare_files(tmp_path / "a.onnx", tmp_path / "a.onnx")

    def test_weights_in_other_files_are_not_followed(self, tmp_path: Path) -> None:
        path = tmp_path / "a.onnx"
        onnx.save(foreign(), path, save_as_external_data=True, location="weights", size_threshold=0)
        with pytest.raises(EdgedetError, match="weights in other files"):
            compare_files(path, path)

    def test_another_kind_of_file(self, tmp_path: Path) -> None:
        (tmp_path / "a.engine").touch()
        with pytest.raises(EdgedetError, match=r"unknown kind of model file '\.engine'"):
            compare_files(tmp_path / "a.engine", tmp_path / "a.engine")


class TestCommand:
    def run(self, *arguments: object) -> Any:
        return CliRunner().invoke(app, ["compare", *map(str, arguments)])

    def test_agreement(self, tmp_path: Path) -> None:
        one = saved(foreign(), tmp_path / "a.onnx")
        result = self.run(one, one)
        assert result.exit_code == 0, result.output
        assert "no tensor diverges" in result.stdout

    def test_a_difference_is_named_and_exits_with_1(self, tmp_path: Path) -> None:
        one, other = saved(foreign(), tmp_path / "a.onnx"), saved(foreign(factor=1.1), tmp_path / "b.onnx")
        result = self.run(one, other)
        assert result.exit_code == 1
        assert "m diverges first" in result.stderr
        assert "the first tensors that diverge" in result.stdout
        result = self.run(one, other, "--json")
        found = json.loads(result.stdout)
        assert (result.exit_code, found["first"], found["agrees"]) == (1, "m", False)
        assert self.run(one, other, "--loosen", 1e5).exit_code == 0

    def test_wrong_use_exits_with_2(self, tmp_path: Path) -> None:
        result = self.run(tmp_path / "a.onnx", tmp_path / "b.onnx")
        assert (result.exit_code, "no such model file" in result.stderr) == (2, True)
