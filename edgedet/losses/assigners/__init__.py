"""Which points, or anchors, learn which object: one file per method.

The methods for points take and give the same and are exchangeable; `ASSIGNERS` has them by name.
"""

from edgedet.losses.assigners.assignment import Assignment, PointAssigner
from edgedet.losses.assigners.atss import atss
from edgedet.losses.assigners.centre_sampling import centre_sampling
from edgedet.losses.assigners.dynamic import dynamic_soft_labels
from edgedet.losses.assigners.max_iou import AnchorAssignment, max_iou
from edgedet.losses.assigners.simota import simota
from edgedet.losses.assigners.tal import task_aligned

__all__ = ["ASSIGNERS", "AnchorAssignment", "Assignment", "PointAssigner", "max_iou"]

ASSIGNERS: dict[str, PointAssigner] = {
    "dynamic": dynamic_soft_labels,
    "simota": simota,
    "tal": task_aligned,
    "atss": atss,
    "fcos": centre_sampling,
}
