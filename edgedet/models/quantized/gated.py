"""Convolutions whose inputs are split into high and low bits, of which the low ones are gated.

Zhang et al., "Precision Gating", ICLR 2020; what they compute is in `edgedet.ops.gated_conv.definition`. The paper
trains from random weights, with thresholds in the units of the prediction; here a trained detector is fine-tuned, so
thresholds are counted in standard deviations of what each channel gave in it, and a channel that its normalisation
turns over wants the update where it is small.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgedet.errors import EdgedetError
from edgedet.models.quantized.codes import HIGHEST
from edgedet.models.quantized.fake_quantize import QuantizedConv2d
from edgedet.models.quantized.recipe import Gating
from edgedet.ops.gated_conv import pytorch
from edgedet.ops.gated_conv.definition import LARGEST_LOW, GatedConv

SMALLEST_UNIT = 1e-2
"""Of the standard deviation that the normalisation has: a channel that hardly varies is not to want everything."""


def gate_of(gating: Gating, *, signed: bool) -> GatedConv:
    """The gate of an input that can be negative, or cannot.

    Both parts of a code must fit into 8 bits. So codes of more than 8 bits are signed ones whatever the input is, and
    end where the high part would no longer fit.

    Raises:
        EdgedetError: there are no such codes.
    """
    low_bits = gating.bits - gating.high_bits
    if not 1 <= low_bits <= 8:
        what = f"{gating.high_bits} of {gating.bits} bits leave {low_bits} low ones"
        raise EdgedetError(what, where="bits, high_bits", fix="leave 1 to 8 low bits")
    if gating.bits > 8:
        highest = min((1 << gating.bits - 1) - 1, (HIGHEST << low_bits) + LARGEST_LOW)
        lowest = -highest - 1
    elif signed:
        lowest, highest = -(1 << gating.bits - 1), (1 << gating.bits - 1) - 1
    else:
        lowest, highest = 0, (1 << gating.bits) - 1
    return GatedConv(low_bits, lowest, highest, gating.granularity, gating.tile)


class Gate(nn.Module):
    """What a gated convolution has besides its weights.

    Args:
        norm: the normalisation behind the convolution, trained.

    Attributes:
        threshold: `[O]`, learned: standard deviations above the mean.
        resting: `[O]`, where the threshold is pulled to.
        center, unit: `[O]`, mean and standard deviation of the convolution's result, before training: the
            normalisation's, until `measure_`.
        sign: `[O]`, -1 where the normalisation turns the result over, and 0 where it makes nothing of it: such a
            channel wants no update, before the normalisation is folded and after.
        updates: `[2]`, multiply-accumulates of low bits that the last batch made, and that it would make without gates.
    """

    center: Tensor
    unit: Tensor
    sign: Tensor
    resting: Tensor
    updates: Tensor

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        assert norm.running_mean is not None and norm.running_var is not None
        self.threshold = nn.Parameter(torch.zeros_like(norm.running_mean), requires_grad=False)
        self.register_buffer("resting", torch.zeros_like(norm.running_mean))
        self.register_buffer("center", norm.running_mean.clone())
        self.register_buffer("unit", (norm.running_var + norm.eps).sqrt())
        self.register_buffer("sign", norm.weight.detach().sign())
        self.register_buffer("updates", torch.ones(2), persistent=False)

    def bounds(self) -> Tensor:
        """The thresholds in the units of the prediction, `[O]`."""
        return self.center + self.sign * self.unit * self.threshold

    @property
    def opened(self) -> Tensor:
        """Share of the results that the last batch updated, `[]`."""
        return self.updates[0] / self.updates[1]

    @torch.no_grad()
    def rest_(self, threshold: Tensor) -> None:
        """Sets the thresholds, `[O]`, and where they are pulled to."""
        self.threshold.copy_(threshold)
        self.resting.copy_(threshold)

    @torch.no_grad()
    def measure_(self, results: Tensor) -> None:
        """Counts thresholds in the standard deviations of the convolution's results, `[B, O, H, W]`, from the means."""
        self.center.copy_(results.mean(dim=(0, 2, 3)))
        self.unit.copy_(results.std(dim=(0, 2, 3), correction=0).clamp(min=SMALLEST_UNIT * self.unit))

    @torch.no_grad()
    def measure_in_results_(self) -> None:
        """Lets thresholds count in the convolution's own units, from 0, and wishes be large results, as the paper's."""
        self.center.zero_()
        self.unit.fill_(1.0)
        self.sign.abs_()

    @torch.no_grad()
    def fold_(self, factor: Tensor) -> None:
        """Makes the gate that of a prediction which is multiplied by `[O]`; where that is 0, nothing is wanted."""
        self.center.mul_(factor)
        self.unit.mul_(torch.where(factor == 0, 1.0, factor.abs()))
        self.sign.mul_(factor.sign())


class GatedQuantizedConv2d(QuantizedConv2d):
    """A convolution with rounded weights that splits its input and gates the low bits.

    Args:
        source: the convolution.
        norm: the normalisation behind it, trained.
        definition: how codes are split and gates decided.
    """

    def __init__(self, source: nn.Conv2d, norm: nn.BatchNorm2d, definition: GatedConv) -> None:
        super().__init__(source)
        self.definition = definition
        self.gate = Gate(norm).to(source.weight.device)

    def forward(self, x: Tensor, step: Tensor) -> Tensor:  # type: ignore[override]
        """The result, `[B, O, H', W']`.

        Args:
            x: `[B, I, H, W]`, rounded to the grid that is split.
            step: `[]`, of that grid.
        """
        gate = self.gate
        y, is_open = pytorch.gated_conv(
            self.definition,
            x,
            step.detach(),
            self.weight_quantizer(self.weight),
            gate.bounds(),
            gate.sign,
            units=gate.unit,
            stride=self.stride,
            padding=self.padding,
            groups=self.groups,
        )
        share = is_open.detach().mean(dtype=torch.float32)
        gate.updates.copy_(torch.stack([share, torch.ones_like(share)]) * (self.weight[0].numel() * y.numel()))
        return y if self.bias is None else y + self.bias.view(-1, 1, 1)


def gated_layers(network: nn.Module) -> dict[str, GatedQuantizedConv2d]:
    """The gated convolutions of a network, by name."""
    return {name: module for name, module in network.named_modules() if isinstance(module, GatedQuantizedConv2d)}
