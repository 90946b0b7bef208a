"""What costs time, in handmade engines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest

from edgedet.engine.inspect.layers import Engine
from edgedet.engine.inspect.lint import lint_engine
from edgedet.engine.inspect.profile import with_times
from edgedet.engine.inspect.reading import read_engine_information
from edgedet.graph.lint.finding import Finding

INT8, HALF, FLOAT = (
    "Thirty-two wide channel vectorized row major Int8 format",
    "Channel major FP16 format where channel % 8 == 0",
    "Row major linear FP32",
)


def tensor(name: str, held: str, channels: int = 8) -> dict[str, Any]:
    return {"Name": name, "Dimensions": [1, channels, 4, 4], "Format/Datatype": held}


def layer(name: str, kind: str, reads: tuple[str, str], writes: tuple[str, str], **more: Any) -> dict[str, Any]:
    """A layer with one input and one output: name and how it is held."""
    sides = {"Inputs": [tensor(*reads)], "Outputs": [tensor(*writes)]}
    return {"Name": name, "LayerType": kind, "ParameterType": kind, **sides, **more}


def convolution(name: str, reads: tuple[str, str], writes: tuple[str, str], **more: Any) -> dict[str, Any]:
    return layer(name, "Convolution", reads, writes, **more)


def engine_of(layers: Sequence[Mapping[str, Any]], inputs: Sequence[str] = ("x",)) -> Engine:
    written = [output["Name"] for entry in layers for output in entry["Outputs"]]
    values = {"Layers": layers, "Bindings": [*inputs, written[-1]]}
    return read_engine_information(json.dumps(values))


def found_in(engine: Engine, float16_profile: Mapping[str, float] | None = None) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in lint_engine(engine, float16_profile):
        found.setdefault(finding.rule.name, []).append(finding)
    return found


def test_an_engine_of_one_precision_has_no_findings() -> None:
    names = ["x", "a", "b", "c"]
    layers = [convolution(f"{after}/Conv", (before, HALF), (after, HALF)) for before, after in pairwise(names)]
    assert found_in(engine_of(layers)) == {}


class TestReformats:
    def chain(self, **copy: Any) -> Engine:
        return engine_of(
            [
                convolution("w.weight + a/Conv", ("x", INT8), ("a", HALF)),
                layer(
                    "Reformatting CopyNode for Input Tensor 0 to b/Conv", "Reformat", ("a", HALF), ("r", FLOAT), **copy
                ),
                convolution("b/Conv", ("r", FLOAT), ("b", FLOAT)),
            ]
        )

    def test_a_reformat_between_two_types_is_found(self) -> None:
        (finding,) = found_in(self.chain())["reformat"]
        assert finding.nodes == ("a",)
        assert finding.what == "FP16 HWC8 of a/Conv to FP32 LINEAR for b/Conv"
        assert "--auto-precision" in finding.rule.fix and "--optimization-level" in finding.rule.fix

    def test_a_profile_adds_its_share_of_the_time(self) -> None:
        copy = "Reformatting CopyNode for Input Tensor 0 to b/Conv"
        engine = with_times(self.chain(), {copy: 0.25, "b/Conv": 0.75})
        (finding,) = found_in(engine)["reformat"]
        assert finding.what.endswith("for b/Conv, 0.25 ms, 25.0% of the time")

    def test_a_quantizer_that_tensorrt_calls_a_reformat_is_none(self) -> None:
        assert set(found_in(self.chain(Origin="QDQ"))) == {"unfused-quantizer"}

    def test_of_a_copy_behind_a_layer_the_tensor_is_the_one_after_it(self) -> None:
        copied = "Reformatted Output Tensor 0 to a/Conv"
        engine = engine_of(
            [
                convolution("a/Conv", ("x", HALF), (copied, HALF)),
                layer("Reformatting CopyNode for Output Tensor 0 to a/Conv", "Reformat", (copied, HALF), ("a", FLOAT)),
            ]
        )
        (finding,) = found_in(engine)["reformat"]
        assert finding.nodes == ("a",)
        assert finding.what == "FP16 HWC8 of a/Conv to FP32 LINEAR for the engine's output"

    def test_the_costliest_comes_first(self) -> None:
        copies = [("first", "x", "a"), ("second", "a", "b"), ("third", "b", "c")]
        engine = engine_of([layer(name, "Reformat", (a, HALF), (b, FLOAT)) for name, a, b in copies])
        assert [finding.nodes[0] for finding in found_in(engine)["reformat"]] == ["x", "a", "b"]
        timed = with_times(engine, {"first": 0.1, "second": 0.3, "third": 0.2})
        assert [finding.nodes[0] for finding in found_in(timed)["reformat"]] == ["a", "b", "x"]


class TestQuantizers:
    def around(self, name: str, kind: str, reads: str = HALF, writes: str = INT8, **more: Any) -> Engine:
        return engine_of(
            [
                convolution("a/Conv", ("x", INT8), ("a", reads)),
                layer(name, kind, ("a", reads), ("q", writes), **more),
                convolution("b/Conv", ("q", writes), ("b", writes)),
            ]
        )

    @pytest.mark.parametrize(
        ("name", "kind", "more"),
        [
            ("anything", "Quantize", {}),
            ("anything", "Dequantize", {}),
            ("anything", "Scale", {}),
            ("anything", "Reformat", {"Origin": "QDQ"}),
            ("a/QuantizeLinear", "kgen", {}),
            ("__myl_Quan_myl0_1", "kgen", {"Metadata": "[ONNX Layer: a/QuantizeLinear]"}),
        ],
    )
    def test_a_quantizer_that_stands_alone_is_found(self, name: str, kind: str, more: dict[str, Any]) -> None:
        (finding,) = found_in(self.around(name, kind, **more))["unfused-quantizer"]
        assert finding.what == "FP16 HWC8 of a/Conv to INT8 CHW32 for b/Conv"

    def test_it_is_named_by_its_node(self) -> None:
        (finding,) = found_in(self.around("a/QuantizeLinear", "Reformat", Origin="QDQ"))["unfused-quantizer"]
        assert finding.nodes == ("a/QuantizeLinear",)

    def test_a_scale_that_rounds_nothing_is_none(self) -> None:
        assert found_in(self.around("a/Mul", "Scale", writes=HALF)) == {}

    def test_a_convolution_with_its_quantizers_is_none(self) -> None:
        name = "a.weight + a/QuantizeLinear + a/Conv"
        assert found_in(engine_of([convolution(name, ("x", INT8), ("a", INT8))])) == {}

    def test_those_of_the_engines_inputs_and_outputs_have_to_be(self) -> None:
        layers = [
            layer("in/QuantizeLinear", "Reformat", ("x", FLOAT), ("q", INT8), Origin="QDQ"),
            convolution("a/Conv", ("q", INT8), ("a", INT8)),
            layer("out/DequantizeLinear", "Reformat", ("a", INT8), ("y", FLOAT), Origin="QDQ"),
        ]
        assert found_in(engine_of(layers)) == {}


class TestIslands:
    def around(self, middle: list[dict[str, Any]], last: str = "last/Conv", kind: str = "Convolution") -> Engine:
        first = convolution("first/Conv", ("x", INT8), ("a", FLOAT))
        return engine_of([first, *middle, layer(last, kind, ("b", FLOAT), ("y", HALF), Inputs=[tensor("c", HALF)])])

    MIDDLE = (
        layer("pool/MaxPool", "Pooling", ("a", FLOAT), ("b", FLOAT)),
        layer("b/Cast", "Reformat", ("b", FLOAT), ("c", HALF)),
    )

    def test_a_layer_in_float32_between_lower_precisions_is_found(self) -> None:
        (finding,) = found_in(self.around([*self.MIDDLE]))["float32-island"]
        assert finding.nodes == ("pool/MaxPool",)
        assert finding.what == "FP32 between lower precisions: Pooling"

    def test_what_decodes_behind_the_last_convolution_is_none(self) -> None:
        engine = self.around([*self.MIDDLE], last="decode/Mul", kind="PointWise")
        assert "float32-island" not in found_in(engine)

    def test_what_nothing_lower_stands_before_or_behind_is_none(self) -> None:
        layers = [
            layer("a/MaxPool", "Pooling", ("x", FLOAT), ("a", FLOAT)),
            convolution("b/Conv", ("a", INT8), ("b", FLOAT)),
            convolution("c/Conv", ("b", FLOAT), ("c", FLOAT)),
        ]
        assert found_in(engine_of(layers)) == {}

    def test_connected_layers_are_one_island_with_their_share_of_the_time(self) -> None:
        middle = [
            layer("one", "PointWise", ("a", FLOAT), ("m", FLOAT)),
            layer("two", "Shuffle", ("m", FLOAT), ("b", FLOAT)),
            self.MIDDLE[1],
        ]
        engine = with_times(self.around(middle), {"one": 0.1, "two": 0.2, "last/Conv": 0.7})
        (finding,) = found_in(engine)["float32-island"]
        assert finding.nodes == ("one", "two")
        assert finding.what == "FP32 between lower precisions: PointWise, Shuffle, 30.0% of the time"

    def test_layers_that_share_no_tensor_are_two_islands(self) -> None:
        middle = [
            layer("one", "PointWise", ("a", FLOAT), ("b", FLOAT)),
            layer("b/Cast", "Reformat", ("b", FLOAT), ("c", HALF)),
            convolution("middle/Conv", ("c", HALF), ("d", FLOAT)),
            layer("two", "PointWise", ("d", FLOAT), ("e", FLOAT)),
            layer("e/Cast", "Reformat", ("e", FLOAT), ("c", HALF)),
        ]
        assert [finding.nodes for finding in found_in(self.around(middle))["float32-island"]] == [("one",), ("two",)]

    def test_parts_of_one_tensor_by_several_layers_are_followed(self) -> None:
        """A concatenation that became none: its parts are written into one tensor, the last one by another input."""
        layers = [
            convolution("part/Conv", ("x", INT8), ("parts", FLOAT)),
            convolution("other/Conv", ("z", FLOAT), ("parts", FLOAT)),
            layer("pool/MaxPool", "Pooling", ("parts", FLOAT), ("b", FLOAT)),
            layer("b/Cast", "Reformat", ("b", FLOAT), ("c", HALF)),
            convolution("last/Conv", ("c", HALF), ("y", HALF)),
        ]
        (finding,) = found_in(engine_of(layers, ["x", "z"]))["float32-island"]
        assert "pool/MaxPool" in finding.nodes

    def test_a_long_engine_takes_no_recursion_and_no_long_time(self) -> None:
        names = ["a", *(f"m{place}" for place in range(5000)), "b"]
        middle = [
            layer(f"to {after}", "PointWise", (before, FLOAT), (after, FLOAT)) for before, after in pairwise(names)
        ]
        (finding,) = found_in(self.around([*middle, self.MIDDLE[1]]))["float32-island"]
        assert len(finding.nodes) == 5001 and finding.what.endswith("PointWise and 4998 more")


class TestDepthwise:
    NAME = "a.weight + a/QuantizeLinear + a/Conv + PWN(a/Clip)"

    def found(self, float16: Mapping[str, float], milliseconds: float = 0.4, **more: Any) -> list[str]:
        entry = convolution(self.NAME, ("x", INT8), ("a", INT8), **{"Groups": 8, **more})
        engine = with_times(engine_of([entry]), {self.NAME: milliseconds})
        return [finding.what for finding in found_in(engine, float16).get("slow-int8-depthwise", [])]

    def test_one_that_takes_longer_in_int8_is_found(self) -> None:
        assert self.found({"a.weight + a/Conv + PWN(a/Clip)": 0.2}) == ["0.4 ms in INT8, 0.2 ms in FP16"]

    def test_all_layers_that_do_its_work_in_fp16_are_added_up(self) -> None:
        assert self.found({"a/Conv": 0.2, "PWN(a/Clip)": 0.15}) == ["0.4 ms in INT8, 0.35 ms in FP16"]
        assert self.found({"a/Conv": 0.2, "PWN(a/Clip)": 0.3}) == []

    def test_what_differs_by_less_than_profiles_do_is_none(self) -> None:
        assert self.found({"a/Conv": 0.39}) == []

    def test_copies_and_other_nodes_are_not_counted(self) -> None:
        copy = "Reformatting CopyNode for Input Tensor 0 to a/Conv"
        assert self.found({"a/Conv": 0.2, copy: 9.0, "b/Conv": 9.0}) == ["0.4 ms in INT8, 0.2 ms in FP16"]
        assert self.found({"b/Conv": 0.1}) == []

    def test_another_convolution_of_the_same_weights_is_not_counted(self) -> None:
        assert self.found({"a.weight + a/Conv": 0.2, "a.weight + a/Conv_1": 9.0}) == ["0.4 ms in INT8, 0.2 ms in FP16"]

    def test_convolutions_that_are_not_depthwise_are_none(self) -> None:
        assert self.found({"a/Conv": 0.2}, Groups=1) == []
        assert self.found({"a/Conv": 0.2}, Groups=4) == []

    def test_one_in_fp16_is_none(self) -> None:
        assert self.found({"a/Conv": 0.2}, Inputs=[tensor("x", HALF)]) == []

    def test_without_times_of_both_engines_nothing_is_said(self) -> None:
        engine = engine_of([convolution(self.NAME, ("x", INT8), ("a", INT8), Groups=8)])
        assert found_in(engine, {"a/Conv": 0.2}) == {}
