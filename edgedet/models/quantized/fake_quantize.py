"""Symmetric INT8 fake quantization: values are rounded to the grid that an integer kernel has, and stay float."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from edgedet.models.quantized.codes import HIGHEST, HIGHEST_OF_SUMMED

PER_TENSOR = -1
"""The axis of a quantizer with a single scale."""

SMALLEST_SCALE = 1e-8


@torch.library.custom_op("edgedet::fake_quantize", mutates_args=())
def fake_quantize(x: Tensor, scale: Tensor, axis: int, highest: int) -> Tensor:
    """`clamp(round(x / scale), lowest, highest) * scale`, ties to even, as ONNX's QuantizeLinear and DequantizeLinear.

    The lowest code is -highest - 1 with a single scale. With one for each channel, as weights have, it is -highest:
    folding a negative normalisation factor into a channel then turns its grid over onto itself.

    The gradient is that of learned step sizes (LSQ, Esser et al., ICLR 2020): that of `x` passes strictly inside the
    grid's range; that of a scale is scaled by `1 / sqrt(n * highest)`, where `n` is the number of values that share it.

    Args:
        x: any shape, float.
        scale: `[]`, or `[x.shape[axis]]`; positive.
        axis: the axis of `x` that has a scale each, or `PER_TENSOR`.
        highest: the highest code.
    """
    step = _along(scale, axis, x.ndim)
    return (x / step).round_().clamp_(_lowest(axis, highest), highest).mul_(step)


@fake_quantize.register_fake
def _(x: Tensor, scale: Tensor, axis: int, highest: int) -> Tensor:
    return torch.empty_like(x)


def _lowest(axis: int, highest: int) -> int:
    return -highest - 1 if axis == PER_TENSOR else -highest


def _along(scale: Tensor, axis: int, dimensions: int) -> Tensor:
    if axis == PER_TENSOR:
        return scale
    return scale.view([-1 if dimension == axis else 1 for dimension in range(dimensions)])


def _keep_inputs(ctx: Any, inputs: tuple[Tensor, Tensor, int, int], output: Tensor) -> None:
    # The output costs no memory: the layer that reads it keeps it for its own gradient.
    ctx.save_for_backward(*inputs[:2], output)
    ctx.axis, ctx.highest = inputs[2:]


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
    x, scale, rounded = ctx.saved_tensors
    step = _along(scale, ctx.axis, x.ndim)
    lowest, highest = _lowest(ctx.axis, ctx.highest), ctx.highest
    if ctx.axis == PER_TENSOR:
        # One pass over the tensor; comparing and multiplying takes five times as long.
        ends = float(scale) * lowest, float(scale) * highest
        passed = torch.ops.aten.hardtanh_backward(gradient, x, *ends)
    else:
        passed = gradient * ((x > step * lowest) & (x < step * highest))
    gradient_scale = None
    if ctx.needs_input_grad[1]:
        # Inside, the slope is (rounded - x) / scale; beyond, it is the code of the end, rounded / scale.
        slope = (rounded * gradient).addcmul_(x, passed, value=-1)
        axes = [dimension for dimension in range(x.ndim) if dimension != ctx.axis]
        total = slope.sum() if ctx.axis == PER_TENSOR else slope.sum(dim=axes)
        gradient_scale = total / scale / math.sqrt(x.numel() / scale.numel() * highest)
    return passed, gradient_scale, None, None


fake_quantize.register_autograd(_backward, setup_context=_keep_inputs)


class FakeQuantize(nn.Module):
    """Rounds to an INT8 grid; one module for all tensors that share the grid.

    Args:
        channels: number of scales along axis 0 (weights), or None for a single one (activations).
        bound: no value is beyond it, as behind ReLU6. A grid that ended beyond would waste steps, and the activation
            could not vanish into it.
        highest: the highest code.
    """

    def __init__(self, channels: int | None = None, bound: float = math.inf, highest: int = HIGHEST) -> None:
        super().__init__()
        self.highest = highest
        self.bound = bound
        self.axis = PER_TENSOR if channels is None else 0
        self.scale = nn.Parameter(torch.ones([] if channels is None else channels), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        rounded: Tensor = fake_quantize(x, self.scale, self.axis, self.highest)
        return rounded

    @torch.no_grad()
    def set_range(self, largest: Tensor) -> None:
        """Sets the scales so that `largest` (of the scales' shape, 0 or more) is the end of the grid."""
        self.scale.copy_((largest / self.highest).clamp(min=SMALLEST_SCALE))
        self.keep_within_bound()

    @torch.no_grad()
    def keep_within_bound(self) -> None:
        """Lets the grid end at the bound where it ends beyond."""
        self.scale.clamp_(max=self.bound / self.highest)


class QuantizedConv2d(nn.Conv2d):
    """A convolution whose weights are rounded to a grid for each output channel."""

    def __init__(self, source: nn.Conv2d) -> None:
        super().__init__(
            source.in_channels,
            source.out_channels,
            source.kernel_size,  # type: ignore[arg-type]
            source.stride,  # type: ignore[arg-type]
            source.padding,  # type: ignore[arg-type]
            source.dilation,  # type: ignore[arg-type]
            source.groups,
            source.bias is not None,
            device=source.weight.device,
            dtype=source.weight.dtype,
        )
        # Of a source that is rounded or gated already there is more, which is not taken over.
        self.load_state_dict({name: source.state_dict()[name] for name in self.state_dict()})
        highest = HIGHEST if source.groups == source.in_channels else HIGHEST_OF_SUMMED
        self.weight_quantizer = FakeQuantize(source.out_channels, highest=highest).to(source.weight)
        self.fit_weight_range()

    def fit_weight_range(self) -> None:
        """Sets each channel's grid to end at its largest weight."""
        self.weight_quantizer.set_range(self.weight.detach().abs().amax(dim=(1, 2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight_quantizer(self.weight), self.bias)
