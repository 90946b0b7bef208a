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
