"""Settings of the loss."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edgedet.config import Frozen

NotNegative = Annotated[float, Field(ge=0.0)]


class LossConfig(Frozen):
    """What a detector is trained to minimise, and which points learn which object.

    Attributes:
        assigner: which points learn which object, of `edgedet.losses.assigners.ASSIGNERS`.
        classification: loss of the scores: `qfl` and `vfl` learn how well the box fits as well, `focal` and `bce` the
            class alone.
        box: loss of the boxes; `l1`, `l2` and `smooth_l1` of the corners in units of the stride, many times as large as
            the others: they want a `box_weight` of some 0.2, where `giou` has 2.
        classification_weight, box_weight, distribution_weight: of the parts.
        label_smoothing: share of a positive point's target that is spread over all classes, which are several; of
            `focal` and `bce`.
        negatives: points without an object that take part: `all`; `hard`, of each image the costliest, `negative_ratio`
            times as many as positive ones (SSD, Liu et al., ECCV 2016, 2.2); or `top_k`, so many of the costliest.
        negative_ratio: of `hard`.
        top_k: of `top_k`.
        repulsion_weight: of the repulsion loss (Wang et al., CVPR 2018), for crowds; its constants are unconfirmed.
    """

    assigner: Literal["dynamic", "simota", "tal", "atss", "fcos"] = "tal"
    classification: Literal["qfl", "vfl", "focal", "bce"] = "qfl"
    box: Literal["giou", "diou", "ciou", "iou", "l1", "l2", "smooth_l1"] = "giou"
    classification_weight: NotNegative = 1.0
    box_weight: NotNegative = 2.0
    distribution_weight: NotNegative = 0.25
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    negatives: Literal["all", "hard", "top_k"] = "all"
    negative_ratio: Annotated[float, Field(gt=0.0)] = 3.0
    top_k: Annotated[int, Field(ge=1)] = 512
    repulsion_weight: NotNegative = 0.0


DEFAULT = LossConfig()
