"""Dynamic k matching: every object takes as many points as its predictions overlap it well."""

from __future__ import annotations

from torch import Tensor

from edgedet.losses.assigners.pairs import Pairs, lowest_of_each, ranks


def match_cheapest(cost: Tensor, overlaps: Tensor, pairs: Pairs, objects: int, top_k: int) -> Tensor:
    """Each object takes its `k` cheapest points (YOLOX, Ge et al., 2021, section 2.1, "SimOTA").

    `k` is the truncated sum of the object's `top_k` highest IoUs, at least 1. A point wanted by several objects goes
    to the one it costs least. A point whose cost is not finite is not taken.

    Args:
        cost: `[K]` of each pair.
        overlaps: `[K]`, IoU of each pair's predicted box with its object.
        pairs: the points that each object may take, object after object.
        objects: how many objects there are.
        top_k: how many IoUs are summed, as far as there are points.

    Returns:
        `[p]` int64, the pairs that were taken, their rows ascending.
    """
    place = ranks(-overlaps, pairs.objects)
    counted = place < top_k
    highest = overlaps.new_zeros(top_k, objects)
    highest[place[counted], pairs.objects[counted]] = overlaps[counted]
    k = highest.sum(dim=0).int().clamp(min=1)
    taken = ((ranks(cost, pairs.objects) < k[pairs.objects]) & cost.isfinite()).nonzero().squeeze(1)
    return taken[lowest_of_each(cost[taken], pairs.rows[taken])]
