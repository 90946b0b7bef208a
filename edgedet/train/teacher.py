"""Distillation: a float detector learns from a trained one, besides from the boxes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import Tensor

from edgedet.errors import EdgedetError
from edgedet.losses.distill import classification_distillation, localization_distillation
from edgedet.losses.processes import Mean, alone
from edgedet.models.checkpoint import Checkpoint, load_checkpoint
from edgedet.models.detector import DetectionNetwork, Detector
from edgedet.models.heads.gfl import BINS, GFLHead
from edgedet.models.zoo import DEFAULT_OPTIONS
from edgedet.spec import Spec
from edgedet.train.config import TeacherConfig

Autocast = Callable[[], AbstractContextManager[object]]
"""Within what it gives, a network computes in a run's precision; one for each use."""

FLOAT_CHECKPOINT = "give a float checkpoint; quantization-aware training has the float detector as its teacher already"


class Teacher:
    """What distillation adds to each step of a run.

    Args:
        config: its settings.
        detector: the teacher, on the run's device, of a GFL head. It is put into eval mode and learns nothing.
        mean: of a tensor over the processes that share the batch, as `gfl_loss` takes it; called once a step.
        autocast: the teacher computes in it, as the student does in its own forward pass.

    Attributes:
        detector: the teacher.
    """

    def __init__(
        self,
        config: TeacherConfig,
        detector: DetectionNetwork,
        mean: Mean = alone,
        autocast: Autocast = nullcontext,
    ) -> None:
        self.detector = detector.eval().requires_grad_(False)
        self._autocast = autocast
        self._config = config
        self._mean = mean

    def losses(self, images: Tensor, student_logits: Tensor) -> dict[str, Tensor]:
        """How far the student's outputs are from the teacher's for the same images: scalars, weighted.

        Each point counts by the teacher's highest score there, and the sum of these is divided by: where the teacher
        sees nothing, the boxes of the dataset teach. LD takes the points that the boxes are assigned to instead.

        Args:
            images: `[B, 3, H, W]`, the student's batch.
            student_logits: `[B, N, C + 4 * (REG_MAX + 1)]`.

        Returns:
            By name: `teacher_classification`, summed over the classes of a point, and `teacher_localisation`, the mean
            over its four sides and, as in LD, the bins of each.
        """
        config = self._config
        with torch.no_grad():
            with self._autocast():
                taught = self.detector(images)
            taught = taught.float()
            scores = taught[..., : -4 * BINS].sigmoid().amax(dim=-1)
            weights = scores / self._mean(scores.sum()).clamp(min=1.0)
        student = student_logits.float()
        found: dict[str, Tensor] = {}
        if config.classification > 0:
            divergence = classification_distillation(
                student[..., : -4 * BINS], taught[..., : -4 * BINS], config.temperature_classification
            )
            found["teacher_classification"] = config.classification * (divergence.sum(dim=-1) * weights).sum()
        if config.localisation > 0:
            divergence = localization_distillation(_sides(student), _sides(taught), config.temperature_localisation)
            mean = divergence.mean(dim=-1) / BINS
            found["teacher_localisation"] = config.localisation * (mean * weights).sum()
        return found


def load_teacher(
    config: TeacherConfig,
    student: DetectionNetwork,
    spec: Spec,
    device: torch.device,
    mean: Mean = alone,
    autocast: Autocast = nullcontext,
) -> Teacher:
    """The teacher of a run, on its device.

    Its images may have another size than the student's: it sees the student's.

    Args:
        config: names the checkpoint.
        student: the detector that is to learn.
        spec: of the student.
        device: of the run.
        mean, autocast: see `Teacher`.

    Raises:
        EdgedetError: the checkpoint cannot be read, or see `require_teaches`.
    """
    path = Path(config.checkpoint)
    checkpoint = load_checkpoint(path)
    require_teaches(checkpoint, student, spec, where=path)
    # Depthwise convolutions are much faster with channels last, on CPUs and GPUs.
    detector = checkpoint.detector.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Teacher(config, detector, mean, autocast)


def require_teaches(checkpoint: Checkpoint, student: DetectionNetwork, spec: Spec, *, where: Path) -> None:
    """Refuses a teacher from which a student cannot learn.

    Args:
        checkpoint: of the teacher.
        student: the detector that is to learn.
        spec: of the student.
        where: the checkpoint's path.

    Raises:
        EdgedetError: one of them is quantized, or they differ in their classes, strides, or in how images are prepared,
            or one has a head without box distributions. (A checkpoint of other bins is none that can be read.)
    """
    if not isinstance(checkpoint.detector, Detector) or not isinstance(student, Detector):
        raise EdgedetError("a quantized detector neither teaches nor is taught", where=where, fix=FLOAT_CHECKPOINT)
    found = [*_differences(checkpoint, student, spec), *_heads_without_distributions(checkpoint.detector, student)]
    if found:
        differences, fixes = zip(*found, strict=True)
        what = f"the checkpoint cannot teach this detector: {'; '.join(differences)}"
        raise EdgedetError(what, where=where, fix="; ".join(dict.fromkeys(fixes)))


def _differences(checkpoint: Checkpoint, student: Detector, spec: Spec) -> Iterator[tuple[str, str]]:
    """In what a teacher differs from its student but may not, and how to mend it, a phrase each."""
    teacher = checkpoint.float_detector
    fix = "train a teacher on this dataset"
    names, wanted = checkpoint.spec.class_names, spec.class_names
    if len(names) != len(wanted):
        yield f"it knows {len(names)} classes, not {len(wanted)}", fix
    elif names != wanted:
        index = next(index for index, (one, other) in enumerate(zip(names, wanted, strict=True)) if one != other)
        yield f"its class {index} is {names[index]!r}, not {wanted[index]!r}", fix
    if teacher.strides != student.strides:
        yield f"its strides are {list(teacher.strides)}, not {list(student.strides)}", fix
    size = {"height": spec.preprocess.height, "width": spec.preprocess.width}
    if checkpoint.spec.preprocess.model_copy(update=size) != spec.preprocess:
        yield "its images are prepared in another way", fix


def _heads_without_distributions(teacher: Detector, student: Detector) -> Iterator[tuple[str, str]]:
    """Which of two detectors has another head than GFL's, the only one whose boxes are distributions, and the fix."""
    for whose, detector, fix in (
        ("its", teacher, "train the teacher with network.head=gfl"),
        ("the student's", student, "set network.head=gfl for the student, or leave the teacher out"),
    ):
        if not isinstance(detector.head, GFLHead):
            head = detector.architecture.get("head", DEFAULT_OPTIONS["head"])
            yield f"{whose} head is {head}, and only gfl has box distributions to learn from", fix


def _sides(logits: Tensor) -> Tensor:
    return logits[..., -4 * BINS :].unflatten(-1, (4, BINS))
