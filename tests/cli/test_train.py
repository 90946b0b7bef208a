from __future__ import annotations

import re

import pytest
import typer
from typer.testing import CliRunner

from edgedet.cli.app import app
from edgedet.train.config import TrainConfig


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resume", "run", "--overwrite"], "keeps its settings"),
        (["--resume", "run", "--out", "other"], "keeps its settings"),
        (["data", "--init", "best.pt", "--weights", "imagenet"], "give one of them"),
        (["data", "--precision", "bf16"], "did you mean 'bf16-mixed'"),
        (["data", "--set", "optimizer.name=adam"], "did you mean 'adamw'"),
    ],
)
def test_options_that_make_no_sense(options: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["train", *options])
    assert result.exit_code == 2
    assert message in result.stderr


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
