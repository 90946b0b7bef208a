"""The statistics of BatchNorm in quantization-aware training."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def hold_statistics(network: nn.Module) -> None:
    """Normalises by the running statistics from now on, as inference will, and leaves them where they are."""
    for module in _norms(network):
        module.eval()


@torch.no_grad()
def estimate_statistics(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replaces the running statistics by plain means over batches; everything else of the network is in eval mode.

    Statistics that were averaged beside the weights, while the weights moved, are not those of the weights that are
    kept: rounding makes the difference felt (Nagel et al., ICML 2022, section 3.2).

    Args:
        network: in eval mode, and left in it.
        batches: `[B, 3, H, W]` each; without any, nothing changes.
    """
    norms = list(_norms(network))
    momenta = [norm.momentum for norm in norms]
    started = False
    for images in batches:
        if not started:
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # PyTorch's name for a plain mean over all batches
                norm.train()
            started = True
        network(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def _norms(network: nn.Module) -> Iterable[nn.BatchNorm2d]:
    return (module for module in network.modules() if isinstance(module, nn.BatchNorm2d))
