from __future__ import annotations

import re

import pytest
import typer
from typer.testing import CliRunner

from edgedet.cli.app import app
from edgedet.config import parse
from edgedet.train.config import TrainConfig
from edgedet.train.idle import NEEDS, require_effect


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resume", "run", "--overwrite"], "keeps its settings"),
        (["--resume", "run", "--out", "other"], "keeps its settings"),
        (["data", "--init", "best.pt", "--weights", "imagenet"], "give one of them"),
        (["data", "--precision", "bf16"], "did you mean 'bf16-mixed'"),
        (["data", "--set", "optimizer.name=adam"], "did you mean 'adamw'"),
        (["data", "--set", "teacher.classification=2"], "teacher.checkpoint: must be given\n  fix: give it"),
        (["data", "--set", "loss.negatives=hard", "--set", "loss.top_k=9"], "set loss.negatives=top_k, or leave"),
        (["data", "--set", "network.dropblock_size=3"], "set network.dropblock above 0, or leave"),
    ],
)
def test_options_that_make_no_sense(options: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["train", *options])
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize("setting", NEEDS)
def test_a_setting_that_may_be_idle_has_its_effect_where_it_says(setting: str) -> None:
    what_it_needs = [
        ("loss", {"negatives": "hard"}),
        ("loss", {"negatives": "top_k"}),
        ("network", {"dropblock": 0.1}),
        ("optimizer", {"name": "sgd"}),
    ]
    has_effect = NEEDS[setting][1]
    assert not has_effect(TrainConfig(data="x"))
    able = [parse(TrainConfig, {"data": "x", part: values}) for part, values in what_it_needs]
    assert [has_effect(config) for config in able].count(True) == 1
    for config in able:
        if has_effect(config):
            require_effect(config, [f"{setting}=1"])


def test_the_defaults_that_help_names_are_those_of_the_settings() -> None:
    train = typer.main.get_command(app).commands["train"]  # type: ignore[attr-defined]
    named = {}
    for option in train.params:
        found = re.search(r"\[default: (.+)\]", getattr(option, "help", None) or "")
        if found and option.name in TrainConfig.model_fields:
            named[option.name] = found[1]
    words = {"None": "random", "False": "no"}
    settings = {name: str(TrainConfig(data="x").model_dump()[name]) for name in named}
    assert named == {name: words.get(value, value) for name, value in settings.items()}
    assert {"model", "batch", "epochs", "imgsz", "precision"} <= named.keys()
