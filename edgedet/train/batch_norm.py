"""BatchNorm over the whole batch of a step where several processes share it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn


class SynchronizedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm whose statistics in training are those of all processes' images together.

    With one all-reduce forward, of each channel's sum, its sum of squares and the number of values, and one backward,
    of their gradients. PyTorch's own SyncBatchNorm works on GPUs alone and is no `BatchNorm2d`, which the folding and
    the quantization look for. In eval mode it is a plain BatchNorm, and its state is that of one: a checkpoint does not
    tell how many processes wrote it.

    Every process must call it equally often and in the same order, or the others wait.

    Args:
        norm: whose parameters and statistics it takes over: shared, not copied.
        group: the processes; None means all.
    """

    def __init__(self, norm: nn.BatchNorm2d, group: distributed.ProcessGroup | None = None) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.train(norm.training)
        self._group = group

    def forward(self, images: Tensor) -> Tensor:
        """Maps `[B, C, H, W]` to maps of the same shape and dtype; B may differ between the processes."""
        if not self.training:
            return super().forward(images)
        # Statistics of half precision are computed in float32, as PyTorch does.
        wide = images.to(torch.promote_types(images.dtype, torch.float32))
        variance, mean, count = self._statistics(wide)
        self._follow(mean, variance, count)
        scale = self.weight * torch.rsqrt(variance + self.eps).to(wide.dtype)
        shift = self.bias - mean.to(wide.dtype) * scale
        return (wide * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)).to(images.dtype)

    def _statistics(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Variance and mean `[C]` over all processes, and the number of values of a channel; float64."""
        variance, mean = torch.var_mean(images, dim=(0, 2, 3), correction=0)
        # A mean square less a squared mean needs the digits; for one number a channel they cost nothing.
        variance, mean = variance.double(), mean.double()
        count = images.numel() // images.shape[1]
        sums = torch.cat([mean * count, (variance + mean.square()) * count, mean.new_tensor([count])])
        totals: Tensor = _SumOverProcesses.apply(sums, self._group)
        mean, mean_square = (totals[:-1] / totals[-1]).chunk(2)
        return (mean_square - mean.square()).clamp(min=0.0), mean, totals[-1].detach()

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        unbiased = variance * (count / (count - 1).clamp(min=1.0))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)


def synchronize_batch_norms(network: nn.Module) -> None:
    """Puts a `SynchronizedBatchNorm2d` of the same parameters in the place of each BatchNorm of a network."""
    for name, module in list(network.named_modules(remove_duplicate=False)):
        if isinstance(module, nn.BatchNorm2d):
            network.set_submodule(name, SynchronizedBatchNorm2d(module))


class _SumOverProcesses(torch.autograd.Function):
    """The sum of all processes' tensors: what each adds to it acts on the losses of all."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, group: distributed.ProcessGroup | None) -> Tensor:
        ctx.group = group
        return _total(value, group)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _total(gradients[0], ctx.group), None


def _total(value: Tensor, group: distributed.ProcessGroup | None) -> Tensor:
    total = value.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total, group=group)
    return total
