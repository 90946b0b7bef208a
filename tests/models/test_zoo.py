from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import nn

from edgedet.errors import EdgedetError
from edgedet.models.activations import activation_names, make_activation
from edgedet.models.backbones.base import Backbone
from edgedet.models.dropblock import DropBlock
from edgedet.models.zoo import (
    DEFAULT_OPTIONS,
    build_detector,
    list_heads,
    list_models,
    native_activation,
    require_dropblock_fits,
    require_input_size,
)

NAME = "shufflenetv2_0.5x"

ALL_ACTIVATIONS = tuple({type(make_activation(name)) for name in activation_names()})


def activations_in(module: nn.Module) -> set[type[nn.Module]]:
    return {type(layer) for layer in module.modules() if isinstance(layer, ALL_ACTIVATIONS)}


def test_the_models() -> None:
    assert list_models() == [
        "mobilenetv2_0.35",
        "mobilenetv2_0.5",
        "mobilenetv2_0.75",
        "mobilenetv2_1.0",
        "shufflenetv2_0.5x",
        "shufflenetv2_1.0x",
        "shufflenetv2_1.5x",
        "squeezenet_1.1",
    ]


@pytest.mark.parametrize("name", list_models())
def test_a_model_is_the_backbone_of_its_name_in_its_papers_activation(name: str) -> None:
    detector = build_detector(name, 4)
    assert isinstance(detector.backbone, Backbone)
    assert detector.backbone.name == name
    expected = nn.ReLU6 if name.startswith("mobilenet") else nn.ReLU
    assert activations_in(detector) == {expected}
    assert isinstance(make_activation(native_activation(name)), expected)
    assert detector.architecture == {"name": name, "num_classes": 4, "activation": native_activation(name)}


@pytest.mark.parametrize("activation", activation_names())
def test_an_activation_is_used_everywhere(activation: str) -> None:
    detector = build_detector("shufflenetv2_0.5x", 1, activation=activation)
    for part in (detector.backbone, detector.neck, detector.head):
        assert activations_in(part) == {type(make_activation(activation))}
    assert detector.architecture["activation"] == activation


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("shufflenet_1.0x", "shufflenetv2_1.0x"),
        ("MobileNetV2_0.5", "mobilenetv2_0.5"),
        ("squeezenet", "squeezenet_1.1"),
    ],
)
def test_an_unknown_model_names_the_nearest(name: str, meant: str) -> None:
    with pytest.raises(EdgedetError, match="unknown model") as caught:
        build_detector(name, 1)
    assert f"did you mean '{meant}'" in str(caught.value.fix)


def test_an_unknown_activation_names_the_nearest() -> None:
    for activation, hint in (("rellu", "did you mean 'relu'"), ("", "one of")):
        with pytest.raises(EdgedetError, match="unknown activation") as caught:
            build_detector("shufflenetv2_0.5x", 1, activation=activation)
        assert hint in str(caught.value.fix)


@pytest.mark.parametrize("classes", [0, -1])
def test_a_detector_needs_a_class(classes: int) -> None:
    with pytest.raises(EdgedetError, match="at least one class"):
        build_detector("shufflenetv2_0.5x", classes)


class TestOptions:
    def test_the_heads(self) -> None:
        assert list_heads() == ["gfl", "fcos", "ssdlite", "yolo"]

    def test_an_unknown_head_names_the_nearest(self) -> None:
        with pytest.raises(EdgedetError, match="unknown head 'ssd'") as caught:
            build_detector(NAME, 1, head="ssd")
        assert "did you mean 'ssdlite'" in str(caught.value.fix)

    def test_an_architecture_has_the_options_where_one_of_them_is_set(self) -> None:
        plain = {"name": NAME, "num_classes": 1, "activation": "relu"}
        defaults = {"head": "gfl", "spp": False, "se": False, "dropblock": 0.0, "dropblock_size": 7}
        assert build_detector(NAME, 1).architecture == plain
        changes: list[dict[str, Any]] = [
            {"head": "yolo"},
            {"spp": True},
            {"se": True},
            {"dropblock": 0.1},
            {"dropblock": 0.1, "dropblock_size": 5},
        ]
        for change in changes:
            assert build_detector(NAME, 1, **change).architecture == plain | defaults | change

    def test_the_defaults_are_those_of_the_function(self) -> None:
        parameters = inspect.signature(build_detector).parameters
        assert {key: parameters[key].default for key in DEFAULT_OPTIONS} == DEFAULT_OPTIONS

    @pytest.mark.parametrize("drop", [-0.1, 1.0, float("nan")])
    def test_a_drop_probability_out_of_range(self, drop: float) -> None:
        with pytest.raises(EdgedetError, match="drop probability"):
            build_detector(NAME, 1, dropblock=drop)

    def test_the_weights_of_the_default_are_drawn_as_ever(self) -> None:
        torch.manual_seed(0)
        plain = build_detector(NAME, 1).state_dict()
        torch.manual_seed(0)
        dropping = build_detector(NAME, 1, dropblock=0.1)
        assert sum(isinstance(layer, DropBlock) for layer in dropping.modules()) == 2
        assert all(torch.equal(tensor, plain[key]) for key, tensor in dropping.state_dict().items())


class TestDropBlockFits:
    def test_a_map_of_a_block_is_enough(self) -> None:
        require_dropblock_fits({"dropblock": 0.1, "dropblock_size": 7}, 224)
        with pytest.raises(EdgedetError, match="6 cells a side, a block 7") as caught:
            require_dropblock_fits({"dropblock": 0.1, "dropblock_size": 7}, 223)
        assert "224 pixels" in str(caught.value.fix)
        assert "dropblock_size=6" in str(caught.value.fix)

    def test_who_drops_nothing_fits_anywhere(self) -> None:
        require_dropblock_fits(build_detector(NAME, 1).architecture, 32)
        require_dropblock_fits({"dropblock": 0.0, "dropblock_size": 7}, 32)


class TestInputSize:
    @pytest.mark.parametrize("side", [32, 64, 320, 352, 8192])
    def test_multiples_of_32_pass(self, side: int) -> None:
        require_input_size(side, 64)
        require_input_size(64, side)

    @pytest.mark.parametrize(
        ("side", "fix"),
        [(321, "320 or 352"), (350, "320 or 352"), (33, "32 or 64"), (31, "32 or 64"), (0, "32"), (-64, "32")],
    )
    def test_others_name_their_neighbours(self, side: int, fix: str) -> None:
        for size in ((side, 64), (64, side)):
            with pytest.raises(EdgedetError, match=f"image size {side} ") as caught:
                require_input_size(*size)
            assert fix in str(caught.value.fix)
