"""Class-wise greedy DIoU non-maximum suppression."""

from edgedet.ops.diou_nms.definition import DIoUNMS
from edgedet.ops.diou_nms.native import diou_nms

__all__ = ["DIoUNMS", "diou_nms"]
