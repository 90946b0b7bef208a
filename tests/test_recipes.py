from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from edgedet.cli.app import app
from edgedet.errors import EdgedetError
from edgedet.recipes import about, load_recipe, measured, recipe_names, recipe_path
from edgedet.train.config import TrainConfig
from edgedet.train.preview import read_recipe
from edgedet.train.run import check_settings

EVERY = pytest.mark.parametrize("name", recipe_names())


def settings_of(name: str) -> TrainConfig:
    return TrainConfig.model_validate({"data": "DATA", **load_recipe(name)})


def keys(values: dict[str, Any], before: str = "") -> set[str]:
    nested = [keys(value, f"{before}{key}.") for key, value in values.items() if isinstance(value, dict)]
    return {before + key for key in values}.union(*nested)


@EVERY
def test_a_recipe_is_complete_and_can_be_trained_with(name: str) -> None:
    settings = settings_of(name)
    check_settings(settings)
    assert keys(load_recipe(name)) == keys(settings.model_dump(mode="json")) - {"data"}


@EVERY
def test_a_recipe_says_what_it_is_for_and_how_it_was_measured(name: str) -> None:
    lines = recipe_path(name).read_text(encoding="utf-8").splitlines()
    header = [line for line in lines if line.startswith("#")]
    assert lines[: len(header)] == header
    assert 10 < len(about(name)) < 100
    assert any("python benchmarks/" in line for line in header)
    came_to, beside = measured(name)
    assert 0.5 < came_to < 0.7 and f"# measured: mAP50-95 {came_to:.4f}".replace(" 0.", " .") in "\n".join(header)
    assert (beside is None) == (name == "default")
    assert beside is None or f"{beside:.4f}".removeprefix("0") in recipe_path("default").read_text(encoding="utf-8")


def test_the_default_recipe_is_what_training_does_without_one() -> None:
    assert settings_of("default") == TrainConfig(data="DATA")
    assert recipe_names()[0] == "default"


def test_a_file_is_told_from_a_name() -> None:
    assert recipe_path("mine.yaml") == Path("mine.yaml")
    assert recipe_path("./mine") == Path("mine")
    with pytest.raises(EdgedetError, match="unknown recipe 'defualt'") as error:
        recipe_path("defualt")
    assert "did you mean 'default'" in str(error.value.fix)


def test_no_recipe_has_no_settings() -> None:
    assert load_recipe(None) == {}


def test_the_command_lists_them_and_prints_one_that_can_be_trained_with(tmp_path: Path) -> None:
    listed = CliRunner().invoke(app, ["recipes", "--json"])
    recipes = json.loads(listed.stdout)["recipes"]
    assert [one["name"] for one in recipes] == recipe_names()
    assert [(one["map"], one["default_map"]) for one in recipes] == [measured(name) for name in recipe_names()]
    assert f"{measured('fast').map:.4f}" in CliRunner().invoke(app, ["recipes"]).stdout
    assert about("default")[:20] in CliRunner().invoke(app, ["recipes"]).stdout
    printed = CliRunner().invoke(app, ["recipes", "default"]).stdout
    own = tmp_path / "own.yaml"
    own.write_text(printed, encoding="utf-8")
    assert load_recipe(str(own)) == load_recipe("default") == yaml.safe_load(printed)
    assert read_recipe(str(own)).augment == read_recipe("default").augment


def test_an_unknown_recipe_is_refused_before_anything_is_read() -> None:
    result = CliRunner().invoke(app, ["train", "nowhere", "--config", "defualt"])
    assert result.exit_code == 2
    assert "unknown recipe 'defualt'" in result.stderr
