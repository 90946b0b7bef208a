"""Distillation: known values, and where gradients go."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgedet.losses.distill import classification_distillation, distillation_loss, localization_distillation
from edgedet.models.heads.gfl import BINS

CLASSES = 3


def logits(seed: int, n: int = 5) -> torch.Tensor:
    return torch.randn(2, n, CLASSES + 4 * BINS, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("temperature", "expected"), [(1, 0.115611), (2, 0.241076), (10, 0.328662)])
def test_localization_distillation_of_known_logits(temperature: float, expected: float) -> None:
    teacher, student = torch.tensor([3.0, 1.0, -1.0]), torch.tensor([2.0, 1.0, 0.0])
    assert localization_distillation(student, teacher, temperature).item() == pytest.approx(expected, abs=1e-6)


def test_a_student_that_says_the_same_loses_nothing() -> None:
    student = logits(0).requires_grad_()
    loss = distillation_loss(student, logits(0))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert student.grad is not None and student.grad.abs().max() < 1e-6


def test_only_the_student_learns() -> None:
    student, teacher = logits(0).requires_grad_(), logits(1).requires_grad_()
    distillation_loss(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad is not None and (student.grad != 0).all(dim=-1).any()


def test_learning_brings_the_student_to_the_teacher() -> None:
    student, teacher = logits(0).requires_grad_(), logits(1)
    optimizer = torch.optim.Adam([student], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        loss = distillation_loss(student, teacher)
        loss.backward()
        optimizer.step()
    found, wanted = student.detach(), teacher
    assert torch.allclose(found[..., :CLASSES].sigmoid(), wanted[..., :CLASSES].sigmoid(), atol=0.05)
    sides = [one[..., CLASSES:].unflatten(-1, (4, BINS)).softmax(dim=-1) for one in (found, wanted)]
    assert torch.allclose(*sides, atol=0.05)


def test_boxes_count_where_the_teacher_is_sure() -> None:
    teacher = logits(1)
    teacher[..., :CLASSES] = -20.0
    teacher[0, 2, 0] = 20.0
    student = teacher.clone()
    student[..., CLASSES:] += torch.randn(teacher[..., CLASSES:].shape, generator=torch.Generator().manual_seed(3))
    student.requires_grad_()
    distillation_loss(student, teacher).backward()
    assert student.grad is not None
    moved = student.grad[..., CLASSES:].abs().amax(dim=-1) > 1e-7
    assert moved.nonzero().tolist() == [[0, 2]]


LOGITS = st.floats(-30, 30)
TEMPERATURES = st.floats(0.5, 10)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_classification_distillation_of_known_logits(temperature: float) -> None:
    teacher, student = 1.5, -0.5
    q, p = (1 / (1 + math.exp(-logit / temperature)) for logit in (teacher, student))
    expected = temperature**2 * (q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p)))
    found = classification_distillation(torch.tensor([student]), torch.tensor([teacher]), temperature)
    assert found.tolist() == pytest.approx([expected], rel=1e-5)


@given(LOGITS, LOGITS, TEMPERATURES)
def test_a_score_is_a_distribution_over_two_outcomes(student: float, teacher: float, temperature: float) -> None:
    one, other = (torch.tensor(value, dtype=torch.float64) for value in (student, teacher))
    found = classification_distillation(one, other, temperature)
    pairs = [torch.stack([logit, torch.zeros_like(logit)]) for logit in (one, other)]
    assert found.item() == pytest.approx(localization_distillation(*pairs, temperature).item(), rel=1e-6, abs=1e-9)
    assert found.item() >= -1e-9


@given(LOGITS, TEMPERATURES)
def test_equal_scores_are_exactly_0_apart_and_pull_at_nothing(logit: float, temperature: float) -> None:
    student = torch.tensor(logit, requires_grad=True)
    divergence = classification_distillation(student, torch.tensor(logit), temperature)
    divergence.backward()
    assert divergence.item() == 0
    assert student.grad is not None and student.grad.item() == pytest.approx(0, abs=1e-6)


def test_gradients_of_classification_distillation_are_those_of_its_values() -> None:
    student = torch.linspace(-4, 4, 9, dtype=torch.float64, requires_grad=True)
    teacher = torch.linspace(3, -2, 9, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda logits: classification_distillation(logits, teacher, 2.0), student)


def test_scores_of_nearly_0_and_1_stay_finite() -> None:
    student = torch.tensor([-200.0, 200.0, 0.0], requires_grad=True)
    divergence = classification_distillation(student, torch.tensor([200.0, -200.0, 200.0]), 1.0)
    divergence.sum().backward()
    assert divergence.tolist() == pytest.approx([200, 200, math.log(2)], rel=1e-6)
    assert student.grad is not None and student.grad.tolist() == pytest.approx([-1, 1, -0.5])
