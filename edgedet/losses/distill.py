"""Distillation of a teacher's logits into a student of the same head."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from edgedet.losses.focal import quality_focal_loss
from edgedet.models.heads.gfl import BINS

TEMPERATURE = 2.0


def distillation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """How far a student's scores and box distributions are from a teacher's, a scalar.

    Scores by quality focal loss with the teacher's scores as targets, over the sum of each point's highest; box
    distributions by localization distillation (LD, Zheng et al., CVPR 2022), weighted by each point's highest score.

    Args:
        student: logits `[B, N, C + 4 * (REG_MAX + 1)]`.
        teacher: logits of the same shape; no gradient flows into them.
    """
    student, teacher = student.float(), teacher.detach().float()
    scores = teacher[..., : -4 * BINS].sigmoid()
    weights = scores.amax(dim=-1)
    total = weights.sum().clamp(min=1.0)
    quality = quality_focal_loss(student[..., : -4 * BINS], scores).sum()
    sides = localization_distillation(
        student[..., -4 * BINS :].unflatten(-1, (4, BINS)), teacher[..., -4 * BINS :].unflatten(-1, (4, BINS))
    )
    return (quality + (sides.mean(dim=-1) * weights).sum()) / total


def localization_distillation(student: Tensor, teacher: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Kullback-Leibler divergence of softened distributions `[..., bins]`, times the temperature squared: `[...]`."""
    target = (teacher / temperature).softmax(dim=-1)
    log_predicted = (student / temperature).log_softmax(dim=-1)
    divergence = functional.kl_div(log_predicted, target, reduction="none").sum(dim=-1)
    return divergence * temperature**2


def classification_distillation(student: Tensor, teacher: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Kullback-Leibler divergence of softened scores, times the temperature squared, elementwise.

    Knowledge distillation (Hinton et al., 2015, section 2) for heads that score each class by itself with a sigmoid.
    Each score is then a distribution over two outcomes; with `q = sigmoid(teacher / T)` and
    `p = sigmoid(student / T)` the divergence is `T^2 * (q * log(q / p) + (1 - q) * log((1 - q) / (1 - p)))`.

    Args:
        student: logits of any shape.
        teacher: logits of the same shape.
        temperature: T, above 0.
    """
    target = teacher / temperature
    predicted = student / temperature
    present = target.sigmoid() * (functional.logsigmoid(target) - functional.logsigmoid(predicted))
    absent = (-target).sigmoid() * (functional.logsigmoid(-target) - functional.logsigmoid(-predicted))
    return (present + absent) * temperature**2
