"""The optimizer, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from edgedet.train.config import OptimizerConfig

MAX_WARMUP_SHARE = 0.25

THRESHOLD = ".gate.threshold"
THRESHOLD_SPEED = 10.0
"""Of the learning rate: thresholds of gates are counted in standard deviations, weights are a hundredth of that."""


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """AdamW or SGD with Nesterov momentum; weights of one dimension (biases, BatchNorm) are not decayed."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    thresholds = [parameter for name, parameter in named if name.endswith(THRESHOLD)]
    others = [parameter for name, parameter in named if not name.endswith(THRESHOLD)]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in others if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if thresholds:
        groups.append({"params": thresholds, "weight_decay": 0.0, "speed": THRESHOLD_SPEED})
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
    """The rate of every parameter group, by its `speed` where it has one."""
    for group in optimizer.param_groups:
        group["lr"] = value * group.get("speed", 1.0)
