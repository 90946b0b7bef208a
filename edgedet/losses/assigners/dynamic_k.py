"""Dynamic k matching: every object takes as many points as its predictions overlap it well."""

from __future__ import annotations

import torch
from torch import Tensor


def match_cheapest(cost: Tensor, overlaps: Tensor, allowed: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """Each object takes its `k` cheapest points (YOLOX, Ge et al., 2021, section 2.1, "SimOTA").

    `k` is the truncated sum of the object's `top_k` highest IoUs, at least 1. A point wanted by several objects goes
    to the one it costs least. A point whose cost is not finite is not taken.

    Args:
        cost: `[P, G]`, P at least 1.
        overlaps: `[P, G]`, IoU of each point's predicted box with each object.
        allowed: `[P, G]` bool, may the object take the point; the IoUs of others do not count.
        top_k: how many IoUs are summed, as far as there are points.

    Returns:
        `[p]` int64, the points that were taken, ascending, and `[p]` int64, the object of each.
    """
    cost = cost.masked_fill(~allowed, torch.inf)
    k = overlaps.masked_fill(~allowed, 0).topk(min(top_k, len(cost)), dim=0).values.sum(dim=0).int().clamp(min=1)
    cheapest_costs, cheapest = cost.topk(min(int(k.max()), len(cost)), dim=0, largest=False)
    chosen = torch.arange(len(cheapest), device=k.device)[:, None] < k[None]
    matched = torch.zeros_like(allowed)
    matched.scatter_(0, cheapest, chosen & cheapest_costs.isfinite())
    points = matched.any(dim=1).nonzero().squeeze(1)
    return points, cost[points].masked_fill(~matched[points], torch.inf).argmin(dim=1)
