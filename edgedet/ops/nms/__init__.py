"""Ways of suppressing boxes, to compare with each other: greedy, soft, by matrices.

What a detector does is `edgedet.ops.diou_nms`, which the specification names; nothing here changes it. Every function
takes the boxes of one image and gives indices into them, best first.
"""

from edgedet.ops.nms.cluster import cluster_nms, fast_nms
from edgedet.ops.nms.greedy import diou_nms, greedy_nms
from edgedet.ops.nms.soft import soft_nms_gaussian, soft_nms_linear

__all__ = ["cluster_nms", "diou_nms", "fast_nms", "greedy_nms", "soft_nms_gaussian", "soft_nms_linear"]
