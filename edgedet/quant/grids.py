"""How the grids of a quantized detector move while it is trained.

Each way keeps its state in the quantizers' scales alone, so that a detector in training has the parameters of any
other quantized detector: its checkpoints, averages and exports need to know nothing of how it was trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from edgedet.models.quantized.detector import QuantizedDetector
from edgedet.models.quantized.fake_quantize import FakeQuantize, QuantizedConv2d, fake_quantize

KEPT_OF_RANGE = 0.9
"""Of an observed range, for each step."""


class LearnedSteps(FakeQuantize):
    """The gradient moves the grid: LSQ (Esser et al., ICLR 2020)."""

    def __init__(self, channels: int | None = None) -> None:
        super().__init__(channels)
        self.scale.requires_grad_(True)


class LearnedClipping(FakeQuantize):
    """The gradient of what lies beyond the grid moves its ends: PACT (Choi et al., 2018), for either sign."""

    def __init__(self) -> None:
        super().__init__()
        self.scale.requires_grad_(True)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        clipped = torch.clamp(x, self.scale * (-self.highest - 1), self.scale * self.highest)
        with torch.no_grad():
            error = fake_quantize(clipped, self.scale, self.axis, self.highest) - clipped
        return clipped + error


class FollowingRange(FakeQuantize):
    """Follows the largest value of each training step, over all tensors that share it, by a moving average.

    Attributes:
        following: whether it does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.following = True
        self._largest: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.following:
            largest = x.detach().abs().amax()
            self._largest = largest if self._largest is None else torch.maximum(self._largest, largest)
        return super().forward(x)

    def settle(self) -> None:
        """Ends a training step, over all processes."""
        largest, self._largest = self._largest, None
        if largest is None:
            return
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(largest, torch.distributed.ReduceOp.MAX)
        self.set_range(torch.lerp(largest, self.scale * self.highest, KEPT_OF_RANGE))


class FollowingWeights(FakeQuantize):
    """Ends at each channel's largest weight, whatever that is at the moment.

    Attributes:
        following: whether it does.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.following = True

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.following:
            self.set_range(x.detach().abs().flatten(1).amax(dim=1))
        return super().forward(x)


METHODS: Mapping[str, tuple[Callable[[], FakeQuantize], Callable[[int], FakeQuantize]]] = {
    "lsq": (LearnedSteps, LearnedSteps),
    "pact": (LearnedClipping, FollowingWeights),
    "observed": (FollowingRange, FollowingWeights),
}
"""For activations and for weights."""


def make_grids_move(quantized: QuantizedDetector, method: str) -> None:
    """Makes the grids move in training, by one of `METHODS`; they start where they are."""
    for_activations, for_weights = METHODS[method]
    for name, quantizer in _activation_quantizers(quantized):
        quantized.network.set_submodule(name, _like(quantizer, for_activations()))
    for conv in quantized.modules():
        if isinstance(conv, QuantizedConv2d):
            conv.weight_quantizer = _like(conv.weight_quantizer, for_weights(conv.out_channels))


def hold_grids(quantized: nn.Module) -> None:
    """Stops those that follow what they round; `moving` can hold those that are learned."""
    for module in quantized.modules():
        if isinstance(module, FollowingRange | FollowingWeights):
            module.following = False


@contextmanager
def moving(quantized: nn.Module, *, hold: bool) -> Iterator[None]:
    """Around an optimizer's step: moves the grids at its end; those that are learned stay where they are, to `hold`.

    The optimizer moves the logarithms of the scales. Scales differ by orders of magnitude, while an optimizer like Adam
    moves all parameters by about its learning rate: it would throw small ones beyond zero. In proportion they stay
    positive, and each moves alike.
    """
    scales = [m.scale for m in quantized.modules() if isinstance(m, FakeQuantize) and m.scale.requires_grad]
    before = [scale.detach().clone() for scale in scales]
    for scale in scales:
        if scale.grad is not None:
            scale.grad.mul_(scale.detach())
    yield
    with torch.no_grad():
        for scale, old in zip(scales, before, strict=True):
            scale.copy_(old if hold else old * torch.exp(scale - old))
    for module in quantized.modules():
        if isinstance(module, FollowingRange):
            module.settle()
        if isinstance(module, FakeQuantize):
            module.keep_within_bound()


def squared_clipping_ends(quantized: nn.Module) -> Tensor:
    """The sum of the squared ends of the grids of `LearnedClipping`: what PACT regularises."""
    ends = [module.scale * module.highest for module in quantized.modules() if isinstance(module, LearnedClipping)]
    return torch.stack(ends).square().sum() if ends else torch.zeros(())


def _activation_quantizers(quantized: QuantizedDetector) -> list[tuple[str, FakeQuantize]]:
    weights = {id(conv.weight_quantizer) for conv in quantized.modules() if isinstance(conv, QuantizedConv2d)}
    named = quantized.network.named_modules()
    return [(name, m) for name, m in named if isinstance(m, FakeQuantize) and id(m) not in weights]


def _like(source: FakeQuantize, made: FakeQuantize) -> FakeQuantize:
    made.bound, made.highest = source.bound, source.highest
    made.to(source.scale)
    made.load_state_dict(source.state_dict())
    return made
