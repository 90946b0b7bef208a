"""The optimizer, and the learning rate as a function of the step."""

from __future__ import annotations

import math

import torch
from torch import nn

from edgedet.train.config import OptimizerConfig

MAX_WARMUP_SHARE = 0.25


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """AdamW or SGD with Nesterov momentum; weights of one dimension (biases, BatchNorm) are not decayed."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.name == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr)
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0)


def learning_rate(step: int, total_steps: int, steps_per_epoch: int, config: OptimizerConfig) -> float:
    """Linear warm-up from near 0, then half a cosine from `lr` to `lr * final_lr` at the last step."""
    warmup = min(config.warmup_epochs * steps_per_epoch, MAX_WARMUP_SHARE * total_steps)
    if step < warmup:
        return config.lr * (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(total_steps - 1 - warmup, 1)
    lowest = config.lr * config.final_lr
    return lowest + (config.lr - lowest) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """The same rate for every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = value
