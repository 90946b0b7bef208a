from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError

from edgedet.config import Frozen, load_yaml, override, parse, save_yaml
from edgedet.errors import EdgedetError


class Optimizer(Frozen):
    name: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Annotated[float, Field(gt=0)] = 0.01
    betas: tuple[float, float] = (0.9, 0.999)


class Step(Frozen):
    epoch: int
    factor: float = 0.1


class Training(Frozen):
    epochs: Annotated[int, Field(ge=1)] = 100
    mosaic: bool = True
    note: str | None = None
    optimizer: Optimizer = Optimizer()
    teacher: Optimizer | None = None
    steps: tuple[Step, ...] = ()


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


class TestYaml:
    def test_round_trip(self, tmp_path: Path) -> None:
        config = Training(epochs=3, note="grün: [x]", teacher=Optimizer(learning_rate=1e-5), steps=(Step(epoch=2),))
        save_yaml(tmp_path / "config.yaml", config)
        assert parse(Training, load_yaml(tmp_path / "config.yaml")) == config

    def test_the_file_holds_every_setting_in_order(self, tmp_path: Path) -> None:
        save_yaml(tmp_path / "config.yaml", Training())
        assert list(load_yaml(tmp_path / "config.yaml")) == list(Training.model_fields)

    @pytest.mark.parametrize("text", ["", "- a\n- b\n", "3", "just text", "null"])
    def test_what_is_no_mapping(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(EdgedetError, match="no mapping"):
            load_yaml(written(tmp_path, text))

    def test_a_syntax_error_names_the_line(self, tmp_path: Path) -> None:
        path = written(tmp_path, "a: 1\nb: [1, 2\nc: 3\n")
        with pytest.raises(EdgedetError, match="not valid YAML") as caught:
            load_yaml(path)
        assert caught.value.where == f"{path}:3"

    @pytest.mark.parametrize(
        "text",
        [
            "a: &a [1]\nb: *a\n",
            "a: &a [x, *a]\n",
            "base: &base {x: 1}\nother:\n  <<: *base\n",
            "a: !!python/object/apply:os.system ['true']\n",
            "a: !!python/name:os.system\n",
            "a: 2000-99-99\n",
            "a: !!bool maybe\n",
            "a: !!int ''\n",
            "a: !!timestamp x\n",
            "a: " + "9" * 5000 + "\n",
            "? [a, b]\n: 1\n",
            "a: \0\n",
            "a: \x1b[31m\n",
            "{" * 5000,
            "- " * 50_000,
            "a: 'unclosed",
            b"a: \xff\xfe\n",
        ],
    )
    def test_hostile_text_is_one_error(self, tmp_path: Path, text: str | bytes) -> None:
        path = written(tmp_path, text)
        with pytest.raises(EdgedetError) as caught:
            load_yaml(path)
        assert str(path) in str(caught.value)
        assert len(str(caught.value)) < 1000

    def test_a_bomb_of_aliases_costs_nothing(self, tmp_path: Path) -> None:
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
        started = time.monotonic()
        with pytest.raises(EdgedetError, match="aliases") as caught:
            load_yaml(written(tmp_path, "\n".join(lines)))
        assert time.monotonic() - started < 2
        assert str(caught.value.where).endswith(":2")

    def test_a_huge_file_is_not_read(self, tmp_path: Path) -> None:
        with pytest.raises(EdgedetError, match="larger than 1 MiB"):
            load_yaml(written(tmp_path, "a: 1\n" * 300_000))


class TestParse:
    def test_defaults_and_values(self) -> None:
        config = parse(Training, {"epochs": 5, "optimizer": {"name": "adamw"}})
        assert config == Training(epochs=5, optimizer=Optimizer(name="adamw"))

    def test_the_result_is_frozen(self) -> None:
        with pytest.raises(ValidationError, match="frozen"):
            parse(Training, {}).epochs = 3  # type: ignore[misc]

    @pytest.mark.parametrize(
        ("values", "key", "nearest"),
        [
            ({"epoch": 3}, "epoch", "epochs"),
            ({"optimizer": {"learningrate": 1}}, "optimizer.learningrate", "learning_rate"),
            ({"teacher": {"learning-rate": 1}}, "teacher.learning-rate", "learning_rate"),
            ({"steps": [{"epoch": 1}, {"epoch": 1, "facto": 2}]}, "steps.1.facto", "factor"),
        ],
    )
    def test_an_unknown_key_names_the_nearest(self, values: dict[str, Any], key: str, nearest: str) -> None:
        with pytest.raises(EdgedetError) as caught:
            parse(Training, values, where="run.yaml")
        assert str(caught.value) == f"run.yaml: unknown key {key!r}\n  fix: did you mean {nearest!r}?"

    def test_an_unknown_key_like_no_other_lists_the_valid_ones(self) -> None:
        with pytest.raises(EdgedetError) as caught:
            parse(Training, {"optimizer": {"zzz": 1}})
        assert caught.value.fix == "valid keys: name, learning_rate, betas"

    @pytest.mark.parametrize(
        ("values", "key"),
        [
            ({"epochs": 0}, "epochs"),
            ({"epochs": "many"}, "epochs"),
            ({"epochs": 2.5}, "epochs"),
            ({"optimizer": {"name": "sdg"}}, "optimizer.name"),
            ({"optimizer": {"learning_rate": float("nan")}}, "optimizer.learning_rate"),
            ({"optimizer": {"learning_rate": float("inf")}}, "optimizer.learning_rate"),
            ({"optimizer": 3}, "optimizer"),
            ({"steps": [{}]}, "steps.0.epoch"),
        ],
    )
    def test_a_wrong_value_names_its_key(self, values: dict[str, Any], key: str) -> None:
        with pytest.raises(EdgedetError) as caught:
            parse(Training, values, where="run.yaml")
        assert caught.value.where == "run.yaml"
        assert caught.value.what.startswith(f"{key}: ")

    def test_a_huge_wrong_value_is_not_repeated_in_full(self) -> None:
        with pytest.raises(EdgedetError) as caught:
            parse(Training, {"epochs": "x" * 100_000})
        assert len(str(caught.value)) < 500


class TestOverride:
    @pytest.mark.parametrize(
        ("assignment", "expected"),
        [
            ("epochs=3", {"epochs": 3}),
            ("mosaic=false", {"mosaic": False}),
            ("note=null", {"note": None}),
            ("note=a=b", {"note": "a=b"}),
            ("note=", {"note": None}),
            ("optimizer.betas=[0.8, 0.99]", {"optimizer": {"betas": [0.8, 0.99]}}),
            ("optimizer.learning_rate=0.5", {"optimizer": {"learning_rate": 0.5}}),
        ],
    )
    def test_the_value_is_read_as_yaml(self, assignment: str, expected: dict[str, Any]) -> None:
        assert override({}, [assignment]) == expected

    def test_scientific_notation_without_a_point_is_a_number_in_the_end(self) -> None:
        assert parse(Training, override({}, ["optimizer.learning_rate=1e-3"])).optimizer.learning_rate == 0.001

    def test_the_last_one_counts_and_neighbours_stay(self) -> None:
        values = {"optimizer": {"name": "adamw", "learning_rate": 1.0}}
        changed = override(values, ["optimizer.learning_rate=2", "optimizer.learning_rate=3"])
        assert changed == {"optimizer": {"name": "adamw", "learning_rate": 3}}
        assert values == {"optimizer": {"name": "adamw", "learning_rate": 1.0}}

    @pytest.mark.parametrize("assignment", ["epochs", "=3", "", "epochs 3"])
    def test_what_is_no_assignment(self, assignment: str) -> None:
        with pytest.raises(EdgedetError, match="is no assignment") as caught:
            override({}, [assignment])
        assert caught.value.fix == "write --set key.subkey=value"

    @pytest.mark.parametrize("text", ["[1, 2", "*a", "2000-99-99", "- " * 10_000, "!!python/name:os.system"])
    def test_a_value_that_is_no_yaml(self, text: str) -> None:
        with pytest.raises(EdgedetError, match="not valid YAML"):
            override({}, [f"epochs={text}"])

    def test_a_key_below_a_value(self) -> None:
        with pytest.raises(EdgedetError, match="'epochs' holds a value"):
            override({"epochs": 3}, ["epochs.x=1"])

    def test_a_misspelt_key_is_refused_on_parsing(self) -> None:
        with pytest.raises(EdgedetError, match=r"unknown key 'optimizer\.lr'"):
            parse(Training, override({}, ["optimizer.lr=1"]))
