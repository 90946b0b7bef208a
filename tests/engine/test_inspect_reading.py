"""What is read of the texts that TensorRT's engine inspector and trtexec give."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet.engine.inspect.formats import datatype_of, layout_of
from edgedet.engine.inspect.layers import Engine
from edgedet.engine.inspect.lint import lint_engine
from edgedet.engine.inspect.nodes import nodes_of
from edgedet.engine.inspect.profile import read_profile, with_times
from edgedet.engine.inspect.reading import read_engine_information
from edgedet.engine.inspect.summary import summarize
from edgedet.errors import EdgedetError

UP_TO_10 = {
    "Layers": [
        {
            "Name": "Reformatting CopyNode for Input Tensor 0 to stem/Conv + PWN(stem/Clip)",
            "LayerType": "Reformat",
            "ParameterType": "Reformat",
            "Origin": "REFORMAT",
            "Inputs": [{"Name": "images", "Dimensions": [1, 3, 64, 64], "Format/Datatype": "Row major linear FP32"}],
            "Outputs": [
                {
                    "Name": "Reformatted Input Tensor 0 to stem/Conv + PWN(stem/Clip)",
                    "Dimensions": [1, 3, 64, 64],
                    "Format/Datatype": "Channel major FP16 format where channel % 8 == 0",
                }
            ],
        },
        {
            "Name": "stem/Conv + PWN(stem/Clip)",
            "LayerType": "CaskConvolution",
            "ParameterType": "Convolution",
            "Groups": 1,
            "TacticName": "some_kernel",
            "Metadata": "[ONNX Layer: stem/Conv]\x1f[ONNX Layer: stem/Clip]",
            "Inputs": [
                {
                    "Name": "Reformatted Input Tensor 0 to stem/Conv + PWN(stem/Clip)",
                    "Dimensions": [1, 3, 64, 64],
                    "Format/Datatype": "Channel major FP16 format where channel % 8 == 0",
                }
            ],
            "Outputs": [{"Name": "boxes", "Dimensions": [1, 4], "Format/Datatype": "Row major linear FP32"}],
        },
    ],
    "Bindings": ["images", "boxes"],
}

FROM_11 = {
    "Layers": [
        {
            "Name": "stem",
            "LayerType": "gemm",
            "Inputs": [{"Name": "images", "Dimensions": [-1, 3], "Format": "", "Datatype": "Float"}],
            "Outputs": [{"Name": "boxes", "Dimensions": [-1, 4], "Format": "(kHWC8)", "Datatype": "Half"}],
            "Metadata": "",
        }
    ],
    "I/O Tensors": [
        {
            "Name": "images",
            "IOMode": "Input",
            "DataType": "Float",
            "Dimensions": [-1, 3],
            "ProfileInfo": [{"OptShape": [4, 3], "Format": "Row major linear FP32 format (kLINEAR)"}],
        },
        {"Name": "boxes", "IOMode": "Output", "DataType": "Half", "Dimensions": [-1, 4], "ProfileInfo": []},
    ],
}


def read(values: Any) -> Engine:
    return read_engine_information(json.dumps(values), where="layers.json")


def test_a_text_of_tensorrt_up_to_10_is_read() -> None:
    engine = read(UP_TO_10)
    copy, convolution = engine.layers
    assert engine.detailed
    assert (copy.kind, copy.is_reformat, copy.nodes) == ("Reformat", True, ())
    assert [tensor.describe() for tensor in (*copy.inputs, *copy.outputs)] == ["FP32 LINEAR", "FP16 HWC8"]
    assert (convolution.kind, convolution.precision, convolution.tactic) == ("Convolution", "FP16", "some_kernel")
    assert convolution.nodes == ("stem/Conv", "stem/Clip")
    assert [(port.tensor.name, port.is_input, port.tensor.dimensions) for port in engine.ports] == [
        ("images", True, (1, 3, 64, 64)),
        ("boxes", False, (1, 4)),
    ]


def test_a_text_of_tensorrt_11_is_read() -> None:
    engine = read(FROM_11)
    (layer,) = engine.layers
    assert [tensor.describe() for tensor in (*layer.inputs, *layer.outputs)] == ["FP32", "FP16 HWC8"]
    assert [(port.tensor.name, port.is_input, port.tensor.describe()) for port in engine.ports] == [
        ("images", True, "FP32 LINEAR"),
        ("boxes", False, "FP16"),
    ]
    assert engine.ports[0].tensor.dimensions == (-1, 3)


def test_a_long_text_of_half_open_brackets_takes_no_long_time() -> None:
    started = time.process_time()
    assert nodes_of("a", "[ONNX Layer: " * 50_000) == ("a",)
    assert time.process_time() - started < 2


def test_names_alone_are_read_and_told_from_details() -> None:
    engine = read({"Layers": ["stem/Conv + PWN(stem/Clip)", "head/Conv"], "Bindings": ["images", "boxes"]})
    assert not engine.detailed
    assert [layer.label for layer in engine.layers] == ["stem/Conv + stem/Clip", "head/Conv"]
    assert [port.is_input for port in engine.ports] == [None, None]
    assert lint_engine(engine) == []


def test_an_engine_that_tells_nothing_is_not_detailed() -> None:
    assert not read({"Layers": []}).detailed


def test_layers_of_further_optimization_profiles_are_left_out() -> None:
    engine = read({"Layers": ["a", "a [profile 1]", "b"], "Bindings": ["images", "images [profile 1]"]})
    assert [layer.name for layer in engine.layers] == ["a", "b"]
    assert [port.tensor.name for port in engine.ports] == ["images"]


@pytest.mark.parametrize(
    ("text", "datatype", "layout"),
    [
        ("Row major linear FP32", "FP32", "LINEAR"),
        ("Row major Int8 format", "INT8", "LINEAR"),
        ("Row major linear BFloat16 format", "BF16", "LINEAR"),
        ("Row major linear FP8 format (kLINEAR)", "FP8", "LINEAR"),
        ("Row major linear Int64 format", "INT64", "LINEAR"),
        ("Row major linear BOOL", "BOOL", "LINEAR"),
        ("Two wide channel vectorized row major FP16 format", "FP16", "CHW2"),
        ("Four wide channel vectorized row major Int8 format", "INT8", "CHW4"),
        ("Sixteen wide channel vectorized row major FP16 format", "FP16", "CHW16"),
        ("Thirty-two wide channel vectorized row major Int8 format", "INT8", "CHW32"),
        ("Thirty-two wide channel vectorized row major FP16 format with 3 spatial dimensions", "FP16", "CDHW32"),
        ("Channel major FP16 format where channel % 8 == 0", "FP16", "HWC8"),
        ("Channel major FP16 format where channel == 4 and column stride % 32 == 0", "FP16", "HWC4"),
        ("Channel major FP32 format where channel % 4 == 0 with 3 spatial dimensions", "FP32", "DHWC4"),
        ("Channel major UInt8 format", "UINT8", "HWC"),
        ("Half", "FP16", ""),
        ("Float", "FP32", ""),
        ("BFloat16", "BF16", ""),
        ("Int32", "INT32", ""),
        ("FP4E2M1", "FP4", ""),
        ("Unknown format", "unknown", ""),
        ("N/A due to dynamic shapes", "unknown", ""),
        ("", "unknown", ""),
    ],
)
def test_types_and_layouts_are_told_by_their_words(text: str, datatype: str, layout: str) -> None:
    assert (datatype_of(text), layout_of(text)) == (datatype, layout)


@pytest.mark.parametrize(
    ("name", "metadata", "nodes"),
    [
        ("stem.weight + stem/QuantizeLinear + stem/Conv", "", ("stem.weight", "stem/QuantizeLinear", "stem/Conv")),
        ("Conv_1 + PWN(PWN(Sigmoid_2), Mul_3)", "", ("Conv_1", "Sigmoid_2", "Mul_3")),
        ("Conv_1 || Conv_2", "", ("Conv_1", "Conv_2")),
        ("Gemm_4 + (Unnamed Layer* 7) [Shuffle] + (Unnamed Layer* 8) [ElementWise]", "", ("Gemm_4",)),
        ("Reformatting CopyNode for Input Tensor 0 to Conv_1", "", ()),
        ("{ForeignNode[Conv_1...Add_9]}", "", ()),
        ("__myl_MulAdd_myl0_3", "", ()),
        (
            "__myl_MulAdd_myl0_3",
            "[ONNX Layer: a/Mul]\x1e[ONNX Layer: a/Add]\x1f[ONNX Layer: a/Mul]",
            ("a/Mul", "a/Add"),
        ),
        ("Conv_1", "[ONNX Layer: stem/Conv]", ("stem/Conv",)),
    ],
)
def test_nodes_are_those_of_the_metadata_or_else_of_the_name(name: str, metadata: str, nodes: tuple[str, ...]) -> None:
    assert nodes_of(name, metadata) == nodes


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "no list of layers"),
        ({"Layers": "stem"}, "no list of layers"),
        ([{"count": 3}, {"name": "stem", "timeMs": 1.0}], "this is a profile"),
        ({"engine": {}, "built_on": {}}, "this is the manifest"),
        ({"Layers": [{"LayerType": "Reformat"}]}, "layer 0 has no name"),
        ({"Layers": ["stem", 7]}, "layer 1 has no name"),
    ],
)
def test_what_is_something_else_is_refused_by_its_name(values: Any, message: str) -> None:
    with pytest.raises(EdgedetError, match=message) as raised:
        read(values)
    assert raised.value.where == "layers.json"


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"Layers": [' + "9" * 5000 + "]}"])
def test_what_is_no_json_is_refused(text: str) -> None:
    for reader in (read_engine_information, read_profile):
        with pytest.raises(EdgedetError, match="not valid JSON"):
            reader(text)


class TestProfiles:
    ROWS = (
        {"count": 100},
        {"name": "stem/Conv + PWN(stem/Clip)", "timeMs": 40, "averageMs": 0.4, "medianMs": 0.3, "percentage": 75.0},
        {"name": "another", "timeMs": 12, "averageMs": 0.12, "percentage": 25.0},
    )

    def test_medians_are_read_and_averages_where_there_are_none(self) -> None:
        assert read_profile(json.dumps(self.ROWS)) == {"stem/Conv + PWN(stem/Clip)": 0.3, "another": 0.12}

    def test_layers_of_one_name_are_added_up_and_share_the_sum(self) -> None:
        profile = read_profile(
            '[{"name": "a", "medianMs": 1}, {"name": "a", "medianMs": 2}, {"name": "b", "medianMs": 5}]'
        )
        assert profile == {"a": 3.0, "b": 5.0}
        engine = with_times(read({"Layers": ["a", "a", "c"]}), profile)
        assert [layer.milliseconds for layer in engine.layers] == [1.5, 1.5, None]
        assert engine.milliseconds == 8.0

    def test_times_go_to_the_layers_and_to_their_groups(self) -> None:
        engine = with_times(read(UP_TO_10), read_profile(json.dumps(self.ROWS)))
        summary = summarize(engine)
        assert [(group.name, group.layers, group.milliseconds) for group in summary.by_kind] == [
            ("Convolution", 1, 0.3),
            ("Reformat", 1, 0),
        ]
        assert summary.by_kind[0].share == pytest.approx(0.3 / 0.42)
        assert [(group.name, group.layers) for group in summary.by_precision] == [("FP16", 1)]

    def test_a_profile_of_another_engine_is_refused(self) -> None:
        with pytest.raises(EdgedetError, match="it is of another engine"):
            with_times(read(FROM_11), {"elsewhere": 1.0})

    @pytest.mark.parametrize("time", [None, "1", True, -1, float("nan"), float("inf"), 10**400])
    def test_a_time_that_is_none_is_refused(self, time: Any) -> None:
        with pytest.raises(EdgedetError, match="layer 'a' has no time"):
            read_profile(json.dumps([{"name": "a", "medianMs": time}]))

    @pytest.mark.parametrize("values", [{}, [], [{"count": 1}], UP_TO_10])
    def test_what_is_no_profile_is_refused(self, values: Any) -> None:
        with pytest.raises(EdgedetError, match="no profile of layers"):
            read_profile(json.dumps(values))


@pytest.mark.parametrize("kind", ["NoOp", "Constant", "Reformat", "signal", "wait"])
def test_what_computes_nothing_has_no_precision(kind: str) -> None:
    outputs = [{"Name": "a", "Format/Datatype": "Row major linear FP32"}]
    summary = summarize(read({"Layers": [{"Name": "a", "LayerType": kind, "Outputs": outputs}]}))
    assert [group.name for group in summary.by_kind] == [kind]
    assert summary.by_precision == ()


def test_plugins_are_listed_by_their_operators() -> None:
    plugins = [
        {"Name": "nms", "LayerType": "PluginV3", "PluginType": "EdgeDetDIoUNMS"},
        {"Name": "nms of the other head", "LayerType": "PluginV2", "PluginType": "EdgeDetDIoUNMS"},
        {"Name": "nameless", "LayerType": "PluginV2"},
        {"Name": "stem", "LayerType": "CaskConvolution"},
    ]
    assert summarize(read({"Layers": plugins})).plugins == ("EdgeDetDIoUNMS", "nameless")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8), inner), max_leaves=9
)
WORDS = st.sampled_from(
    ["a", "b", "Conv_1", "Reformat", "Scale", "QDQ", "Half", "Int8", "Row major linear FP32", "Input"]
)
NUMBERS = st.sampled_from([0.5, 2.0, 8.0])


def objects(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of the keys, now and then with anything under them."""
    return st.fixed_dictionaries({}, optional={key: value | ANYTHING for key, value in values.items()})


TENSORS = st.lists(
    objects(
        **dict.fromkeys(("Name", "Format/Datatype", "Format", "Datatype", "IOMode", "DataType"), WORDS),
        Dimensions=st.lists(st.integers(-1, 9)),
        ProfileInfo=st.lists(objects(Format=WORDS)),
    ),
    max_size=3,
)
LAYERS = st.builds(
    lambda name, rest: {**rest, "Name": name},
    WORDS,
    objects(
        **dict.fromkeys(("LayerType", "ParameterType", "Origin", "TacticName", "Metadata", "PluginType"), WORDS),
        Groups=st.integers(0, 4),
        Inputs=TENSORS,
        Outputs=TENSORS,
    ),
)
ENGINES = objects(Layers=st.lists(LAYERS | WORDS, min_size=1), Bindings=st.lists(WORDS), **{"I/O Tensors": TENSORS})
PROFILES = st.lists(objects(name=WORDS, medianMs=NUMBERS, averageMs=NUMBERS))


@settings(deadline=None)
@given(values=ENGINES | ANYTHING, profile=PROFILES | ANYTHING)
def test_whatever_the_json_holds_there_is_a_result_or_an_error_that_says_why(values: Any, profile: Any) -> None:
    try:
        engine = read(values)
    except EdgedetError:
        return
    times = None
    try:
        times = read_profile(json.dumps(profile))
        engine = with_times(engine, times)
    except EdgedetError:
        pass
    summary = summarize(engine)
    assert sum(group.layers for group in summary.by_kind) == summary.layers == len(engine.layers)
    for finding in lint_engine(engine, times):
        json.dumps(finding.to_dict())
