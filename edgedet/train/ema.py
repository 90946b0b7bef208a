"""Exponential moving average of the weights."""

from __future__ import annotations

import copy

import torch
from torch import nn

HORIZON_SHARE = 0.01


class ExponentialMovingAverage:
    """An average of a model's parameters and BatchNorm statistics over its last steps.

    The decay is `min(1 - 1 / horizon, (1 + t) / (10 + t))` with a horizon of a hundredth of the run: a fixed .9998
    would never forget the start of a run of a thousand steps, and hardly average one of a million.
    Buffers are averaged too: an average of weights with the statistics of the last batch's weights does not fit.
    """

    def __init__(self, model: nn.Module, total_steps: int) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._horizon = max(HORIZON_SHARE * total_steps, 1.0)

    def decay(self, step: int) -> float:
        """The weight of the average so far, after `step` earlier updates."""
        return min(1 - 1 / self._horizon, (1 + step) / (10 + step))

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Moves the average towards `model`; `step` counts from 0."""
        weight = 1 - self.decay(step)
        current, average = model.state_dict(), self.model.state_dict()
        counts = [name for name in average if not average[name].is_floating_point()]
        values = [name for name in average if average[name].is_floating_point()]
        torch._foreach_lerp_([average[name] for name in values], [current[name] for name in values], weight)
        if counts:
            torch._foreach_copy_([average[name] for name in counts], [current[name] for name in counts])
