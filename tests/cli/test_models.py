from __future__ import annotations

import json

from typer.testing import CliRunner

from edgedet.cli.app import app
from edgedet.models.zoo import list_models


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["models", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_json_holds_every_model_with_its_parts() -> None:
    code, out, _ = run("--imgsz", "64", "--classes", "3", "--json")
    result = json.loads(out)
    assert code == 0
    assert (result["imgsz"], result["classes"]) == (64, 3)
    assert [model["name"] for model in result["models"]] == list_models()
    for model in result["models"]:
        for kind in ("params", "macs"):
            assert list(model[kind]) == ["backbone", "neck", "head", "total"]


def test_the_table_shows_millions_and_the_size() -> None:
    code, out, _ = run("--imgsz", "320", "--classes", "80")
    row = next(line for line in out.splitlines() if "shufflenetv2_1.0x" in line).split()
    assert code == 0
    assert "320x320, 80 classes" in out
    assert row[1] == "0.776"
    assert row[5] == "0.246"


def test_a_side_that_the_strides_do_not_divide_is_bad_input() -> None:
    code, out, err = run("--imgsz", "333")
    assert code == 2
    assert out == ""
    assert "320" in err and "352" in err
