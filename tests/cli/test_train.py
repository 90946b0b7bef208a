from __future__ import annotations

import re

import typer

from edgedet.cli.app import app
from edgedet.train.config import TrainConfig


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
