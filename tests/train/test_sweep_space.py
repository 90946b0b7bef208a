"""Which settings a sweep may try: what is read, and what is refused before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgedet.errors import EdgedetError
from edgedet.train.config import TrainConfig
from edgedet.train.sweep.space import FIXED, Choices, Range, is_whole, load_space, resolve

BASE: dict[str, Any] = {"data": "data", "imgsz": 64, "optimizer": {"name": "sgd", "momentum": 0.8}}


def written(folder: Path, text: str) -> Path:
    path = folder / "space.yaml"
    path.write_text(text)
    return path


def test_ranges_and_choices_are_read(tmp_path: Path) -> None:
    text = """
optimizer.lr: {low: 1e-4, high: 1e-2, log: true}
batch: {low: 4, high: 16, step: 4}
augment.mosaic: {low: 0, high: 1}
activation: {choices: [null, relu6]}
"""
    assert load_space(written(tmp_path, text), BASE) == {
        "optimizer.lr": Range(low=1e-4, high=1e-2, log=True),
        "batch": Range(low=4, high=16, step=4),
        "augment.mosaic": Range(low=0, high=1),
        "activation": Choices(choices=(None, "relu6")),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optimizer.rl: {low: 1, high: 2}", "unknown key 'optimizer.rl'"),
        ("optimizer.learning_rate: {low: 1, high: 2}", "unknown key 'optimizer.learning_rate'"),
        ("optimiser.lr: {low: 1, high: 2}", "did you mean 'optimizer'"),
        ("optimizer.momentum: {low: 0.5, high: 2}", "less than 1"),
        ("optimizer.name: {choices: [sgd, adam]}", "did you mean 'adamw'"),
        ("epochs: {low: 1.5, high: 3}", "valid integer"),
        ("epochs: {low: 1, high: 4, step: 1.5}", "valid integer"),
        ("ema: {low: 0, high: 1}", "no number"),
        ("model: {low: 0, high: 1}", "valid string"),
        ("imgsz.side: {low: 32, high: 64}", "imgsz"),
        ("optimizer.lr: {low: 0.1, high: 0.1}", "low must be below high"),
        ("optimizer.lr: {low: 0.2, high: 0.1}", "low must be below high"),
        ("optimizer.weight_decay: {low: 0, high: 0.1, log: true}", "low must be above 0"),
        ("optimizer.lr: {low: 0.1, high: 0.4, log: true, step: 0.1}", "exclude each other"),
        ("optimizer.lr: {low: 0.1, high: 0.4, step: 0.2}", "whole number of steps"),
        ("optimizer.lr: {low: 0.1, high: 0.4, step: 0}", "greater than 0"),
        ("optimizer.lr: {low: 0.1, high: 0.4, steps: 0.1}", "did you mean 'step'"),
        ("optimizer.lr: {choices: []}", "at least 1"),
        ("batch: {choices: [8, 8]}", "listed twice"),
        ("batch: {choices: [8], low: 4}", "unknown key 'low'"),
        ("batch: [4, 8]", "no range and no choices"),
        ("{}", "names no setting"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(EdgedetError, match=message) as caught:
        load_space(path, BASE)
    assert str(caught.value.where).startswith(str(path))


@pytest.mark.parametrize("setting", FIXED)
def test_what_would_change_the_comparison_is_refused(tmp_path: Path, setting: str) -> None:
    with pytest.raises(EdgedetError, match="cannot be compared"):
        load_space(written(tmp_path, f"{setting}: {{choices: [1, 2]}}"), BASE)


def test_a_step_that_meets_the_end_only_but_for_rounding_is_taken(tmp_path: Path) -> None:
    space = load_space(written(tmp_path, "optimizer.lr: {low: 0.1, high: 0.7, step: 0.1}"), BASE)
    assert space == {"optimizer.lr": Range(low=0.1, high=0.7, step=0.1)}


def test_chosen_settings_replace_those_of_the_base_and_leave_the_others() -> None:
    config = resolve(BASE, {"optimizer.lr": 0.5, "epochs": 7})
    assert config == TrainConfig.model_validate(
        {"data": "data", "imgsz": 64, "epochs": 7, "optimizer": {"name": "sgd", "momentum": 0.8, "lr": 0.5}}
    )
    assert "lr" not in BASE["optimizer"]


@pytest.mark.parametrize(
    ("setting", "whole"),
    [("epochs", True), ("eval_every", True), ("optimizer.lr", False), ("qat.images", True), ("model", False)],
)
def test_settings_of_whole_numbers_are_known(setting: str, whole: bool) -> None:
    assert is_whole(setting) == whole
