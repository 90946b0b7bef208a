"""ShuffleNetV2's channel shuffles folded into the convolutions around them.

A shuffle moves no number to another place of the map, only to another channel. So the channels that a convolution
gives are sorted by who reads them, a reader takes a contiguous slice of each convolution, and the order in which the
slices arrive is folded into the reader's weights. No transpose is left, and a channel that a unit only passes on is not
copied until someone reads it.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn

from edgedet.models.backbones.shufflenetv2 import DownsamplingUnit, ShuffleNetV2, ShuffleUnit
from edgedet.models.detector import DetectionNetwork, Detector
from edgedet.models.folding.shuffle_plan import ShufflePlan, plan_shuffles

logger = logging.getLogger(__name__)

STAGES = ("stage2", "stage3", "stage4")

Network = TypeVar("Network", bound=DetectionNetwork)
Layer = tuple[nn.Conv2d, nn.BatchNorm2d]


class FoldedStage(nn.Sequential):
    """The units of a stage, under the names they had, joined by slices and concatenations.

    Args:
        units: with the channels of their convolutions in the plan's order.
        plan: who reads what.
    """

    def __init__(self, units: Iterable[nn.Module], plan: ShufflePlan) -> None:
        super().__init__(*units)
        self._shares = plan.shares

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C_in, H, W]` to `[B, C, H / 2, W / 2]`, the channels in the order of the plan's last reader."""
        first, *others = self
        assert isinstance(first, DownsamplingUnit)
        arrived: list[list[Tensor]] = [[] for _ in self]
        self._share_out(0, first.branch1(x), arrived)
        self._share_out(1, first.branch2(x), arrived)
        for source, unit in enumerate(others, start=2):
            assert isinstance(unit, ShuffleUnit)
            self._share_out(source, unit.branch2(torch.cat(arrived[source - 2], dim=1)), arrived)
        return torch.cat(arrived[-1], dim=1)

    def _share_out(self, source: int, given: Tensor, arrived: list[list[Tensor]]) -> None:
        readers = [reader for reader, share in enumerate(self._shares[source]) if share]
        parts = given.split([self._shares[source][reader] for reader in readers], dim=1)
        for position, reader in enumerate(readers):
            arrived[reader].append(parts[position])


def fold_channel_shuffles(detector: Network) -> Network:
    """A copy of a detector without channel shuffles, exact to the order of summation.

    A network whose backbone is no ShuffleNetV2, or was folded before, is copied as it is; so is one with a unit of
    unknown layout, with a warning that names the unit.
    """
    detector = copy.deepcopy(detector)
    if not isinstance(detector, Detector):
        return detector
    backbone = detector.backbone
    if not isinstance(backbone, ShuffleNetV2) or isinstance(backbone.stage2, FoldedStage):
        return detector
    if unknown := next(_unknown_units(backbone), None):
        logger.warning("channel shuffles are kept: %s is not laid out as a unit of ShuffleNetV2", unknown)
        return detector
    order: Sequence[int] | None = None
    for name, lateral in zip(STAGES, detector.neck.laterals, strict=True):
        assert isinstance(lateral, nn.Sequential)
        stage = getattr(backbone, name)
        if order is not None:
            _follow_input_(stage[0], order)
        folded, order = _fold(stage)
        setattr(backbone, name, folded)
        _follow_inputs_(_layers(lateral)[0], order)
    return detector


def _fold(stage: nn.Sequential) -> tuple[FoldedStage, Sequence[int]]:
    """The folded stage, and the channel of the unfolded one that it gives first, second, ..."""
    units = list(stage)
    sources = [_branch(units[0], "branch1"), *(_branch(unit, "branch2") for unit in units)]
    plan = plan_shuffles(_layers(sources[0])[-1][0].out_channels, len(units))
    for branch, order in zip(sources, plan.source_orders, strict=True):
        _reorder_outputs_(_layers(branch)[-1], order)
    for unit, order in zip(units[1:], plan.reader_orders, strict=False):
        _follow_inputs_(_layers(_branch(unit, "branch2"))[0], order)
    return FoldedStage(units, plan), plan.reader_orders[-1]


def _follow_input_(unit: nn.Module, order: Sequence[int]) -> None:
    """Lets the first unit of a stage take its input in another order; what it gives stays the same."""
    depthwise, pointwise = _layers(_branch(unit, "branch1"))
    _reorder_outputs_(depthwise, order)
    _follow_inputs_(pointwise, order)
    _follow_inputs_(_layers(_branch(unit, "branch2"))[0], order)


@torch.no_grad()
def _reorder_outputs_(layer: Layer, order: Sequence[int]) -> None:
    """The layer's output channel `k` becomes what `order[k]` was; of a depthwise layer, its input channel too."""
    conv, norm = layer
    assert norm.running_mean is not None and norm.running_var is not None
    for tensor in (conv.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var):
        tensor.copy_(tensor[list(order)])


@torch.no_grad()
def _follow_inputs_(layer: Layer, order: Sequence[int]) -> None:
    """The layer takes as its input channel `k` what `order[k]` was."""
    layer[0].weight.copy_(layer[0].weight[:, list(order)])


def _branch(unit: nn.Module, name: str) -> nn.Sequential:
    branch = getattr(unit, name, None)
    return branch if isinstance(branch, nn.Sequential) else nn.Sequential()


def _layers(branch: nn.Sequential) -> list[Layer]:
    return [
        (conv, norm)
        for conv, norm in pairwise(branch.children())
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    ]


def _unknown_units(backbone: ShuffleNetV2) -> Iterator[str]:
    """The names of units that cannot be folded."""
    for name in STAGES:
        for index, unit in enumerate(getattr(backbone, name)):
            expected = {"branch1": ["depthwise", "pointwise"] if index == 0 else []}
            expected["branch2"] = ["pointwise", "depthwise", "pointwise"]
            if any(_kinds(_branch(unit, branch)) != kinds for branch, kinds in expected.items()):
                yield f"{name}.{index}"


def _kinds(branch: nn.Sequential) -> list[str]:
    """The kinds of a branch's convolutions; one that no BatchNorm follows is of no known kind."""
    normalised = {conv for conv, _ in _layers(branch)}
    convolutions = [layer for layer in branch.modules() if isinstance(layer, nn.Conv2d)]
    return [_kind(conv) if conv in normalised else "?" for conv in convolutions]


def _kind(conv: nn.Conv2d) -> str:
    if conv.groups == conv.in_channels == conv.out_channels:
        return "depthwise"
    return "pointwise" if conv.groups == 1 and conv.kernel_size == (1, 1) else "?"
