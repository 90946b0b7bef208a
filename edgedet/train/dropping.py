"""What DropBlock drops in a step: a function of the seed and the step, so that a run can go on from any step."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from edgedet.models.dropblock import DropBlock
from edgedet.train.plan import DROP_STREAM, BatchPlan


def prepare_dropblocks(detector: nn.Module, plan: BatchPlan, step: int) -> None:
    """Lets every DropBlock drop as much as is due at a step, and seeds what it draws; without one nothing happens.

    Args:
        detector: to be run on this process's share of the step's batch.
        plan: of the run.
        step: from 0.
    """
    dropblocks = [module for module in detector.modules() if isinstance(module, DropBlock)]
    if not dropblocks:
        return
    for dropblock in dropblocks:
        dropblock.set_progress(step / max(plan.total_steps - 1, 1))
    seeds = np.random.SeedSequence([plan.seed, DROP_STREAM, step, plan.rank])
    torch.manual_seed(int(seeds.generate_state(1)[0]))
