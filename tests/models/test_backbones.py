from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchvision_keys
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from edgedet.errors import EdgedetError
from edgedet.models.activations import activation_names, make_activation
from edgedet.models.backbones.base import Backbone
from edgedet.models.backbones.mobilenetv2 import MobileNetV2
from edgedet.models.backbones.shufflenetv2 import ShuffleNetV2, interleave
from edgedet.models.backbones.squeezenet import SqueezeNet
from edgedet.models.count import count_macs, count_parameters
from edgedet.models.necks.pan import PAN
from edgedet.models.weights import load_backbone_weights

BACKBONES: dict[str, Callable[..., Backbone]] = {
    "mobilenetv2_0.35": lambda *activation: MobileNetV2(0.35, *activation),
    "mobilenetv2_0.5": lambda *activation: MobileNetV2(0.5, *activation),
    "mobilenetv2_0.75": lambda *activation: MobileNetV2(0.75, *activation),
    "mobilenetv2_1.0": lambda *activation: MobileNetV2(1.0, *activation),
    "shufflenetv2_0.5x": lambda *activation: ShuffleNetV2("0.5x", *activation),
    "shufflenetv2_1.0x": lambda *activation: ShuffleNetV2("1.0x", *activation),
    "shufflenetv2_1.5x": lambda *activation: ShuffleNetV2("1.5x", *activation),
    "squeezenet_1.1": lambda *activation: SqueezeNet(*activation),
}
FAMILIES = ["mobilenetv2_0.35", "shufflenetv2_0.5x", "squeezenet_1.1"]
CLASSIFIERS = ("features.18.", "classifier.", "conv5.", "fc.")

# torchvision 0.29.2 with the weights of torchvision_keys.state_dict and the image of golden_image(): of each map the
# elements [0, 1, 0, 0] and [0, -2, -1, -1] and the mean. SqueezeNet's first convolution was given a padding of 1 there.
GOLDEN = {
    "mobilenetv2_0.35": ((1.7514, 2.8356, 0.369), (2.1544, 0.070591, -0.89744), (-0.69179, 2.7819, -0.019785)),
    "mobilenetv2_0.5": ((0.18268, -2.211, 1.3804), (-3.765, -5.1391, -0.62416), (-3.7863, -2.261, -0.3626)),
    "mobilenetv2_0.75": ((-2.8668, -6.6161, -1.6599), (0.15694, 3.2356, -0.26893), (-0.82244, -3.5743, -0.26103)),
    "mobilenetv2_1.0": ((-0.57029, -7.6705, 0.19901), (12.211, 7.9819, 0.10025), (-1.8983, 0.42256, -0.10963)),
    "shufflenetv2_0.5x": ((0, 0, 2.5532), (20.916, 19.591, 14.696), (0, 88.519, 30.069)),
    "shufflenetv2_1.0x": ((0, 7.0102, 5.0882), (130.2, 31.247, 38.193), (0, 0, 101)),
    "shufflenetv2_1.5x": ((0, 0, 5.4385), (48.369, 0, 54.938), (698.83, 0, 153.68)),
    "squeezenet_1.1": ((0.2781, 2.4181, 1.4855), (0, 2.6739, 1.5922)),
}


@pytest.fixture(params=BACKBONES)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    torch.manual_seed(0)
    return BACKBONES[request.param]()


def golden_image() -> Tensor:
    return torch.from_numpy(np.random.RandomState(1000).standard_normal((1, 3, 64, 96)).astype(np.float32))


@pytest.mark.parametrize(
    ("network", "published"),
    [
        ("mobilenetv2_1.0", 3_504_872),
        ("shufflenetv2_0.5x", 1_366_792),
        ("shufflenetv2_1.0x", 2_278_604),
        ("shufflenetv2_1.5x", 3_503_624),
        ("squeezenet_1.1", 1_235_496),
    ],
)
def test_the_written_down_tables_add_up_to_torchvisions_published_parameter_counts(
    network: str, published: int
) -> None:
    shapes = torchvision_keys.shapes(network)
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    assert sum(int(np.prod(shape)) for key, shape in shapes.items() if not key.endswith(buffers)) == published


def test_names_and_shapes_are_torchvisions(backbone: Backbone) -> None:
    expected = {
        key: shape for key, shape in torchvision_keys.shapes(backbone.name).items() if not key.startswith(CLASSIFIERS)
    }
    own = {key: tuple(tensor.shape) for key, tensor in backbone.state_dict().items() if not key.startswith("extra.")}
    assert own == expected


def test_only_squeezenet_adds_something_to_torchvisions_part(backbone: Backbone) -> None:
    added = any(key.startswith("extra.") for key in backbone.state_dict())
    assert added == (backbone.name == "squeezenet_1.1")


def test_computes_what_torchvision_computes(backbone: Backbone, tmp_path) -> None:
    torch.save(torchvision_keys.state_dict(backbone.name), tmp_path / "weights.pth")
    load_backbone_weights(backbone, tmp_path / "weights.pth")
    with torch.no_grad():
        maps = backbone.eval()(golden_image())
    for feature, golden in zip(maps, GOLDEN[backbone.name], strict=False):
        found = (feature[0, 1, 0, 0], feature[0, -2, -1, -1], feature.mean())
        assert [float(number) for number in found] == pytest.approx(golden, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (160, 96), (224, 320)])
def test_maps_divide_the_input_exactly(backbone: Backbone, size: tuple[int, int]) -> None:
    height, width = size
    assert backbone.strides == (8, 16, 32)
    with torch.no_grad():
        maps = backbone.eval()(torch.zeros(2, 3, height, width))
    assert [tuple(feature.shape) for feature in maps] == [
        (2, channels, height // stride, width // stride)
        for channels, stride in zip(backbone.channels, backbone.strides, strict=True)
    ]


def test_squeezenet_divides_every_side_that_32_divides() -> None:
    layers = [layer for layer in SqueezeNet().features if isinstance(layer, nn.Conv2d | nn.MaxPool2d)]
    for side in range(32, 1313, 32):
        cells = torch.zeros(1, 3, side, 1 << 5)
        sides = []
        for layer in layers:
            channels = layer.in_channels if isinstance(layer, nn.Conv2d) else 1
            cells = layer(cells[:, :1].expand(-1, channels, -1, -1))
            sides.append(cells.shape[2])
        assert sides == [side // 2, side // 4, side // 8, side // 16]


def test_every_parameter_gets_a_gradient(backbone: Backbone) -> None:
    images = torch.randn(2, 3, 64, 64)
    sum(feature.square().mean() for feature in backbone.train()(images)).backward()
    silent = [name for name, p in backbone.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


@pytest.mark.parametrize("activation", activation_names())
@pytest.mark.parametrize("name", FAMILIES)
def test_the_signal_keeps_its_size_through_random_weights(name: str, activation: str) -> None:
    torch.manual_seed(0)
    backbone = BACKBONES[name](activation)
    with torch.no_grad():
        maps = backbone.train()(torch.randn(2, 3, 64, 64))
    assert all(0.1 < float(feature.std()) < 10 for feature in maps)


def test_squeezenets_gradient_neither_vanishes_nor_explodes_without_batch_norm() -> None:
    torch.manual_seed(0)
    backbone = SqueezeNet()
    images = torch.randn(2, 3, 96, 96, requires_grad=True)
    features = backbone(images)[1]
    features.backward(torch.randn_like(features) / features.numel() ** 0.5)
    first, last = backbone.features[0], backbone.features[12].expand3x3
    ratio = float(first.weight.grad.square().mean().sqrt() / last.weight.grad.square().mean().sqrt())
    assert 0.05 < ratio < 50


# GMAC at 320x320 and millions of parameters, counted by another tool on another implementation.
@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [
        ("mobilenetv2_0.5", 0.47e6, 0.175e9),
        ("mobilenetv2_1.0", 1.80e6, 0.570e9),
        ("shufflenetv2_0.5x", 0.14e6, 0.061e9),
        ("shufflenetv2_1.0x", 0.77e6, 0.246e9),
    ],
)
def test_sizes_are_those_of_the_reference(name: str, parameters: float, macs: float) -> None:
    backbone = BACKBONES[name]()
    assert count_parameters(backbone) == pytest.approx(parameters, rel=0.03)
    assert count_macs(backbone, 320, 320) == pytest.approx(macs, rel=0.03)


def test_squeezenets_size_is_the_references_but_for_its_padding_and_its_extra_block() -> None:
    backbone = SqueezeNet()
    assert count_parameters(backbone.features) == pytest.approx(0.72e6, rel=0.03)
    assert count_parameters(backbone.extra) == 512 * 9 + 2 * 512 + 512 * 256 + 2 * 256
    padded = count_macs(backbone.features, 320, 320)
    backbone.features[0].padding = (0, 0)
    assert count_macs(backbone.features, 320, 320) == pytest.approx(0.551e9, rel=0.03)
    # 320, 160, 80, 40, 20 cells a side instead of 320, 159, 79, 39, 19.
    assert padded == pytest.approx(0.551e9 * 1.063, rel=0.03)


def test_multiply_accumulates_agree_with_pytorchs_own_counter(backbone: Backbone) -> None:
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        backbone.eval()(torch.zeros(1, 3, 64, 96))
    assert count_macs(backbone, 64, 96) == counter.get_total_flops() // 2


def test_interleave_alternates_the_channels() -> None:
    first, second = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    mixed = interleave(first, second)
    assert mixed.shape == (2, 6, 4, 5)
    assert torch.equal(mixed[:, 0::2], first)
    assert torch.equal(mixed[:, 1::2], second)


@pytest.mark.parametrize("name", ["shufflenetv2_0.5x", "squeezenet_1.1"])
def test_exports_to_a_graph_whose_shapes_are_constants(name: str) -> None:
    backbone = BACKBONES[name]().eval()
    batch = {0: torch.export.Dim("batch", max=8)}
    program = torch.export.export(backbone, (torch.zeros(2, 3, 64, 64),), dynamic_shapes=(batch,))
    arithmetic = {"aten.sym_size.int", "<built-in function mul>", "<built-in function floordiv>"}
    found = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert not found & arithmetic
    images = torch.randn(3, 3, 64, 64)
    for exported, own in zip(program.module()(images), backbone(images), strict=True):
        torch.testing.assert_close(exported, own, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_activations_in_place_change_nothing_that_a_convolution_or_a_neck_reads(name: str) -> None:
    backbone = BACKBONES[name]("relu6").eval()
    read: list[tuple[Tensor, Tensor]] = []

    def remember(_layer: nn.Module, arguments: tuple[Tensor]) -> None:
        read.append((arguments[0], arguments[0].clone()))

    for layer in backbone.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_pre_hook(remember)
    with torch.no_grad():
        maps = backbone(torch.randn(1, 3, 32, 32))
        read += [(feature, feature.clone()) for feature in maps]
        PAN(backbone.channels, 8, "relu6").eval()(maps)
    assert len(read) > len(maps)
    assert all(torch.equal(now, then) for now, then in read)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_activation_is_the_one_asked_for_everywhere(name: str) -> None:
    kinds = {type(make_activation(each)) for each in activation_names()}
    found = {type(layer) for layer in BACKBONES[name]("hardswish").modules()} & kinds
    assert found == {nn.Hardswish}


def test_native_activations_are_those_of_the_papers() -> None:
    assert any(isinstance(layer, nn.ReLU6) for layer in MobileNetV2().modules())
    for backbone in (ShuffleNetV2(), SqueezeNet()):
        assert not any(isinstance(layer, nn.ReLU6) for layer in backbone.modules())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("relu", [0.0, 0.0, 3.0, 8.0]),
        ("relu6", [0.0, 0.0, 3.0, 6.0]),
        ("leaky_relu", [-0.4, 0.0, 3.0, 8.0]),
        ("hardswish", [0.0, 0.0, 3.0, 8.0]),
        ("swish", [-0.071945, 0.0, 2.857722, 7.997317]),
        ("mish", [-0.072592, 0.0, 2.986535, 7.999998]),
    ],
)
def test_activation_values(name: str, expected: list[float]) -> None:
    values = torch.tensor([-4.0, 0.0, 3.0, 8.0])
    torch.testing.assert_close(make_activation(name)(values), torch.tensor(expected), rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("build", "what", "close"),
    [
        (lambda: make_activation("ReLU-6"), "unknown activation 'ReLU-6'", "relu6"),
        (lambda: MobileNetV2(0.6), "unknown width of MobileNetV2 '0.6'", "0.5"),
        (lambda: ShuffleNetV2("1x"), "unknown width of ShuffleNetV2 '1x'", "1.0x"),
        (lambda: SqueezeNet("gelu"), "unknown activation 'gelu'", "relu"),
    ],
)
def test_unknown_options_name_the_known_ones(build: Callable[[], object], what: str, close: str) -> None:
    with pytest.raises(EdgedetError, match=what) as caught:
        build()
    assert close in str(caught.value)
