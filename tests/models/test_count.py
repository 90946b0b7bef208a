from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from edgedet.errors import EdgedetError
from edgedet.models.count import count_macs, count_macs_by_child, count_parameters
from edgedet.models.summary import model_sizes
from edgedet.models.zoo import build_detector, list_models


class Parts(nn.Module):
    """A stem, a layer that runs twice, and a linear layer on the pooled map."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.shared = nn.Conv2d(8, 8, (1, 3), padding=(0, 1), groups=4, bias=False)
        self.last = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.shared(self.shared(self.stem(images))).mean((2, 3)))


def test_macs_by_hand() -> None:
    # 12x20 in, 6x10 cells: a 3x3 over 3 channels; twice a 1x3 over the 2 channels of a group; 5 sums over 8 numbers.
    stem, shared, last = 6 * 10 * 8 * 27, 2 * 6 * 10 * 8 * 6, 5 * 8
    assert count_macs_by_child(Parts(), 12, 20) == {"stem": stem, "shared": shared, "last": last}
    assert count_macs(Parts(), 12, 20) == stem + shared + last


def test_parameters_by_hand() -> None:
    assert count_parameters(Parts()) == (8 * 27 + 8) + (8 + 8) + 8 * 6 + (5 * 8 + 5)


def test_a_shared_parameter_counts_once() -> None:
    layer = nn.Linear(4, 4)
    assert count_parameters(nn.ModuleList([layer, layer])) == 20


def test_macs_of_a_module_that_is_itself_a_layer() -> None:
    assert count_macs(nn.Conv2d(3, 2, 1), 4, 5) == 2 * 20 * 3


@pytest.mark.parametrize("training", [True, False])
def test_the_module_stays_as_it_was(training: bool) -> None:
    module = Parts().train(training)
    module.stem[1].eval()
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    modes = [layer.training for layer in module.modules()]
    count_macs(module, 32, 32)
    assert [layer.training for layer in module.modules()] == modes
    assert all(torch.equal(tensor, before[key]) for key, tensor in module.state_dict().items())
    assert not any(layer._forward_hooks for layer in module.modules())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_half_precision_modules_count_the_same() -> None:
    assert count_macs(Parts().bfloat16(), 32, 32) == count_macs(Parts(), 32, 32)


@pytest.mark.parametrize("name", ["mobilenetv2_0.35", "shufflenetv2_0.5x", "squeezenet_1.1"])
def test_a_detectors_parts_add_up_to_pytorchs_own_count(name: str) -> None:
    detector = build_detector(name, 3).eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        detector(torch.zeros(1, 3, 64, 96))
    parts = count_macs_by_child(detector, 64, 96)
    assert set(parts) == {"backbone", "neck", "head"}
    assert sum(parts.values()) == counter.get_total_flops() // 2
    assert all(macs > 0 for macs in parts.values())


def test_model_sizes_cover_the_zoo_and_grow_with_classes_and_pixels() -> None:
    few, many = model_sizes(2, 64, 64), model_sizes(80, 64, 64)
    assert [size.name for size in few] == list_models()
    for small, large in zip(few, many, strict=True):
        assert small.params["total"] == small.params["backbone"] + small.params["neck"] + small.params["head"]
        assert small.macs["total"] == small.macs["backbone"] + small.macs["neck"] + small.macs["head"]
        assert small.params["backbone"] == large.params["backbone"]
        # 78 more classes are 78 more outputs of 96 channels and a bias, on four levels of 64 + 16 + 4 + 1 cells.
        assert large.params["head"] - small.params["head"] == 4 * 78 * 97
        assert large.macs["head"] - small.macs["head"] == 78 * 96 * (64 + 16 + 4 + 1)


@pytest.mark.parametrize(("height", "width"), [(320, 333), (100, 320), (0, 32)])
def test_sizes_that_the_strides_do_not_divide_are_refused(height: int, width: int) -> None:
    with pytest.raises(EdgedetError, match="not a multiple of 32"):
        model_sizes(80, height, width)


# NanoDet-Plus' neck and head on the same backbones: 80 classes, 96 channels, four levels, 5x5 depthwise kernels.
# Its reference counts: head .139M (.116M with 20 classes); whole detectors of 1.198M and .451 GMAC at 320x320 on
# ShuffleNetV2-1.0x, .519M and .247 GMAC on 0.5x.
@pytest.mark.parametrize(("classes", "reference"), [(80, 0.139e6), (20, 0.116e6)])
def test_the_head_is_nanodets_but_for_its_kernels(classes: int, reference: float) -> None:
    head = build_detector("shufflenetv2_1.0x", classes).head
    smaller_kernels = 4 * 2 * 96 * (5 * 5 - 3 * 3)
    assert count_parameters(head) + smaller_kernels == pytest.approx(reference, rel=0.03)


@pytest.mark.parametrize(
    ("name", "parameters", "macs"), [("shufflenetv2_1.0x", 1.198e6, 0.451e9), ("shufflenetv2_0.5x", 0.519e6, 0.247e9)]
)
def test_a_detector_is_lighter_than_nanodets_because_its_neck_adds_instead_of_concatenating(
    name: str, parameters: float, macs: float
) -> None:
    detector = build_detector(name, 80)
    backbone, head = detector.backbone, detector.head
    cells = 40 * 40 + 20 * 20 + 10 * 10 + 5 * 5
    kernels = 2 * 96 * (5 * 5 - 3 * 3)
    nanodets_neck = parameters - count_parameters(backbone) - count_parameters(head) - 4 * kernels
    nanodets_neck_macs = macs - count_macs_by_child(detector, 320, 320)["backbone"]
    nanodets_neck_macs -= count_macs_by_child(detector, 320, 320)["head"] + cells * kernels
    # Maps of 96 channels are fused, not of 192; what is left is about half of the reference's neck.
    assert 0.35 < count_parameters(detector.neck) / nanodets_neck < 0.65
    assert 0.35 < count_macs_by_child(detector, 320, 320)["neck"] / nanodets_neck_macs < 0.65
