"""Distillation from a trained detector: what it adds to the loss, and which detectors can teach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edgedet.config import parse
from edgedet.errors import EdgedetError
from edgedet.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgedet.models.detector import STRIDES, DetectionNetwork, Detector
from edgedet.models.heads.gfl import BINS, GFLHead
from edgedet.models.zoo import build_detector
from edgedet.spec import Preprocess, Spec
from edgedet.train.config import TeacherConfig, TrainConfig
from edgedet.train.run import launch, teacher_of
from edgedet.train.teacher import Teacher, load_teacher

NAMES = ("a", "b")
CPU = torch.device("cpu")
CLASSIFICATION, LOCALISATION = "teacher_classification", "teacher_localisation"


class SaysThis(DetectionNetwork):
    """A detector that answers with given logits."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)
        self.asked: list[tuple[Tensor, bool]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.asked.append((images, self.training))
        return self.logits


def settings(**values: Any) -> TeacherConfig:
    return parse(TeacherConfig, {"checkpoint": "teacher.pt", **values})


def logits(seed: int, batch: int = 2, points: int = 5) -> Tensor:
    return torch.randn(batch, points, len(NAMES) + 4 * BINS, generator=torch.Generator().manual_seed(seed))


def one_sure_point(scores: list[float], bins: list[float]) -> Tensor:
    """Logits `[1, 1, K]`; bins that are not given have no probability."""
    side = torch.full((BINS,), -1e4)
    side[: len(bins)] = torch.tensor(bins)
    return torch.cat([torch.tensor(scores), side.repeat(4)]).view(1, 1, -1)


IMAGES = torch.zeros(2, 3, 64, 64)


class TestLosses:
    @pytest.mark.parametrize(("temperature", "divergence"), [(1, 0.115611), (2, 0.241076), (10, 0.328662)])
    def test_box_distributions_of_known_logits(self, temperature: float, divergence: float) -> None:
        config = settings(localisation=0.5, temperature_localisation=temperature, classification=0)
        teacher = Teacher(config, SaysThis(one_sure_point([30.0, -30.0], [3.0, 1.0, -1.0])))
        found = teacher.losses(IMAGES, one_sure_point([0.0, 0.0], [2.0, 1.0, 0.0]))
        assert found.keys() == {LOCALISATION}
        assert found[LOCALISATION].item() == pytest.approx(0.5 * divergence / BINS, rel=1e-4)

    def test_scores_of_known_logits(self) -> None:
        config = settings(classification=3.0, temperature_classification=1.0, localisation=0)
        teacher = Teacher(config, SaysThis(one_sure_point([30.0, 0.0], [0.0])))
        found = teacher.losses(IMAGES, one_sure_point([30.0, 40.0], [5.0]))
        # Half sure, against wholly sure: .5 * log(.5) + .5 * (log(.5) + 40).
        assert found.keys() == {CLASSIFICATION}
        assert found[CLASSIFICATION].item() == pytest.approx(3.0 * (20 - 0.693147), rel=1e-5)

    def test_a_student_that_says_the_same_loses_and_learns_nothing(self) -> None:
        student = logits(0).requires_grad_()
        found = Teacher(settings(), SaysThis(logits(0))).losses(IMAGES, student)
        sum(found.values(), torch.zeros(())).backward()
        assert [loss.item() for loss in found.values()] == pytest.approx([0, 0], abs=1e-6)
        assert student.grad is not None and student.grad.abs().max() < 1e-6

    def test_the_teacher_sees_the_batch_in_eval_mode_and_learns_nothing(self) -> None:
        taught = SaysThis(logits(0)).train()
        student = logits(1).requires_grad_()
        found = Teacher(settings(), taught).losses(IMAGES, student)
        sum(found.values(), torch.zeros(())).backward()
        ((images, training),) = taught.asked
        assert images is IMAGES and not training
        assert taught.logits.grad is None
        assert student.grad is not None and (student.grad != 0).any()

    def test_points_count_by_the_teachers_highest_score(self) -> None:
        taught = logits(0)
        taught[..., : len(NAMES)] = -40.0
        taught[0, 2, 1] = 40.0
        student = logits(1).requires_grad_()
        found = Teacher(settings(), SaysThis(taught)).losses(IMAGES, student)
        sum(found.values(), torch.zeros(())).backward()
        assert student.grad is not None
        assert (student.grad.abs().amax(dim=-1) > 1e-9).nonzero().tolist() == [[0, 2]]

    def test_the_mean_over_processes_is_the_loss_of_the_whole_batch(self) -> None:
        taught, student = logits(0, batch=3), logits(1, batch=3)
        whole = Teacher(settings(), SaysThis(taught)).losses(IMAGES, student)
        total = taught[..., : len(NAMES)].sigmoid().amax(dim=-1).sum()
        shares = [
            Teacher(settings(), SaysThis(taught[part]), mean=lambda _: total / 2).losses(IMAGES, student[part])
            for part in (slice(0, 1), slice(1, 3))
        ]
        for name, loss in whole.items():
            assert sum(share[name].item() for share in shares) / 2 == pytest.approx(loss.item(), rel=1e-5)

    def test_half_precision_students_are_compared_in_single_precision(self) -> None:
        found = Teacher(settings(), SaysThis(logits(0))).losses(IMAGES, logits(0).bfloat16())
        assert {loss.dtype for loss in found.values()} == {torch.float32}

    def test_the_teacher_computes_in_the_precision_of_the_run(self, tmp_path: Path, checkpoint: Path) -> None:
        answers = []
        for precision in ("32-true", "bf16-mixed"):
            config = parse(TrainConfig, {"data": "x", "accelerator": "cpu", "precision": precision})
            fabric, _ = launch(config, tmp_path)
            student = build_detector("shufflenetv2_0.5x", len(NAMES)).eval()
            teacher = teacher_of(settings(checkpoint=str(checkpoint)), fabric, student, spec())
            assert teacher is not None
            teacher.detector.register_forward_hook(lambda _, __, output: answers.append(output))
            images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
            found = teacher.losses(images, student(images))
            assert {loss.dtype for loss in found.values()} == {torch.float32}
        assert [answer.dtype for answer in answers] == [torch.float32, torch.bfloat16]
        assert answers[0].std() > 0 and (answers[0] - answers[1]).abs().max() < 0.1 * answers[0].abs().max()

    def test_a_student_comes_to_say_what_its_teacher_says(self) -> None:
        torch.manual_seed(0)
        images = torch.randn(2, 3, 16, 16)

        class Convolution(DetectionNetwork):
            def __init__(self) -> None:
                super().__init__()
                self.convolution = nn.Conv2d(3, len(NAMES) + 4 * BINS, 8, 8)

            def forward(self, images: Tensor) -> Tensor:
                outputs: Tensor = self.convolution(images).flatten(2).transpose(1, 2)
                return outputs

        student, taught = Convolution(), Convolution()
        teacher = Teacher(settings(), taught)
        optimizer = torch.optim.Adam(student.parameters(), lr=0.02)
        losses = []
        for _ in range(60):
            optimizer.zero_grad()
            found = teacher.losses(images, student(images))
            losses.append({name: loss.item() for name, loss in found.items()})
            sum(found.values(), torch.zeros(())).backward()
            optimizer.step()
        assert all(losses[-1][name] < 0.02 * losses[0][name] for name in (CLASSIFICATION, LOCALISATION))


def spec(names: tuple[str, ...] = NAMES, size: int = 64, **preprocess: Any) -> Spec:
    return Spec(
        model="shufflenetv2_0.5x",
        class_names=names,
        strides=STRIDES,
        preprocess=Preprocess(height=size, width=size, **preprocess),
    )


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float checkpoint that has left its first outputs behind, which are nearly those of all random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("teacher") / "teacher.pt"
    detector = build_detector("shufflenetv2_0.5x", len(NAMES))
    for output in detector.head.outputs:
        nn.init.normal_(output.bias)
    save_checkpoint(path, detector, spec())
    return path


@pytest.fixture(scope="module")
def student() -> Detector:
    """Another backbone than the teacher's."""
    return build_detector("mobilenetv2_0.35", len(NAMES)).eval()


class TestLoading:
    def test_a_detector_of_another_backbone_and_size_teaches(self, checkpoint: Path, student: Detector) -> None:
        teacher = load_teacher(settings(checkpoint=str(checkpoint)), student, spec(size=96), CPU)
        images = torch.randn(1, 3, 96, 96)
        found = teacher.losses(images, student(images))
        assert all(loss.item() > 0 for loss in found.values())
        assert not teacher.detector.training
        weights = next(module.weight for module in teacher.detector.modules() if isinstance(module, nn.Conv2d))
        assert weights.is_contiguous(memory_format=torch.channels_last)

    def test_a_copy_of_the_teacher_has_nothing_to_learn(self, checkpoint: Path) -> None:
        copy = load_checkpoint(checkpoint).float_detector
        teacher = load_teacher(settings(checkpoint=str(checkpoint)), copy, spec(), CPU)
        images = torch.randn(1, 3, 64, 64)
        found = teacher.losses(images, copy(images))
        assert [loss.item() for loss in found.values()] == pytest.approx([0, 0], abs=1e-5)

    @pytest.mark.parametrize(
        ("wanted", "message"),
        [
            (spec(names=("a", "b", "c")), "it knows 2 classes, not 3"),
            (spec(names=("a", "c")), "its class 1 is 'b', not 'c'"),
            (spec(mean=(0.5, 0.5, 0.5)), "prepared in another way"),
        ],
    )
    def test_what_differs_is_named(self, checkpoint: Path, student: Detector, wanted: Spec, message: str) -> None:
        with pytest.raises(EdgedetError, match=message) as caught:
            load_teacher(settings(checkpoint=str(checkpoint)), student, wanted, CPU)
        assert caught.value.where == str(checkpoint)

    def test_other_strides_are_named(self, checkpoint: Path, student: Detector) -> None:
        head = GFLHead(8, len(NAMES), (8, 16), "relu")
        other = Detector(student.backbone, student.neck, head, student.architecture)
        with pytest.raises(EdgedetError, match=r"its strides are \[8, 16, 32, 64\], not \[8, 16\]"):
            load_teacher(settings(checkpoint=str(checkpoint)), other, spec(), CPU)

    @pytest.mark.parametrize(
        ("of_teacher", "of_student", "message", "fixes"),
        [
            ("gfl", "yolo", "the student's head is yolo", ["set network.head=gfl for the student"]),
            ("fcos", "gfl", "its head is fcos", ["train the teacher with network.head=gfl"]),
            ("yolo", "yolo", "its head is yolo.*the student's head is yolo", ["train the teacher", "for the student"]),
        ],
    )
    def test_a_head_without_distributions_is_named_with_its_owner_and_a_fix_that_works(
        self, tmp_path: Path, of_teacher: str, of_student: str, message: str, fixes: list[str]
    ) -> None:
        path = tmp_path / "teacher.pt"
        save_checkpoint(path, build_detector("shufflenetv2_0.5x", len(NAMES), head=of_teacher), spec())
        student = build_detector("shufflenetv2_0.5x", len(NAMES), head=of_student)
        with pytest.raises(EdgedetError, match=message) as caught:
            load_teacher(settings(checkpoint=str(path)), student, spec(), CPU)
        assert caught.value.fix is not None and all(fix in caught.value.fix for fix in fixes)
        assert "on this dataset" not in caught.value.fix

    def test_a_detector_that_is_not_float_neither_teaches_nor_is_taught(
        self, checkpoint: Path, student: Detector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        quantized = SaysThis(logits(0))
        config = settings(checkpoint=str(checkpoint))
        with pytest.raises(EdgedetError, match="quantized detector neither teaches"):
            load_teacher(config, quantized, spec(), CPU)
        monkeypatch.setattr(
            "edgedet.train.teacher.load_checkpoint", lambda _: Checkpoint(quantized, spec(), training=None)
        )
        with pytest.raises(EdgedetError, match="quantized detector neither teaches"):
            load_teacher(config, student, spec(), CPU)

    def test_a_checkpoint_that_is_not_there_is_an_error_that_names_it(self, student: Detector) -> None:
        with pytest.raises(EdgedetError, match="nowhere"):
            load_teacher(settings(checkpoint="/nowhere.pt"), student, spec(), CPU)

    @pytest.mark.parametrize("wrong", [{"localisation": -1.0}, {"temperature_classification": 0.0}, {"weight": 1.0}])
    def test_wrong_settings_are_refused(self, wrong: dict[str, float]) -> None:
        with pytest.raises(EdgedetError):
            settings(**wrong)
