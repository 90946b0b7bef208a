"""Class-wise greedy DIoU non-maximum suppression."""

from edgedet.ops.diou_nms.definition import DIoUNMS

__all__ = ["DIoUNMS"]
