"""The space of a sweep: which settings of a training run are tried, and which values of each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import Field, model_validator

from edgedet.config import Frozen, load_yaml, merged, parse
from edgedet.errors import EdgedetError
from edgedet.train.config import TrainConfig

Scalar = bool | int | float | str | None

FIXED = ("data", "train_split", "val_split", "seed", "devices")
"""Settings that a sweep leaves alone: what they change is the comparison, not the detector."""

ROUNDING = 1e-9


class Range(Frozen):
    """Numbers from `low` to `high`, both included.

    Attributes:
        low, high: the ends; whole where the setting is a whole number.
        log: draw evenly over orders of magnitude; `low` is above 0 then.
        step: only `low`, `low + step`, ... `high`; None means any number, or any whole one.
    """

    low: float
    high: float
    log: bool = False
    step: Annotated[float, Field(gt=0.0)] | None = None

    @model_validator(mode="after")
    def _holds_something(self) -> Range:
        if self.low >= self.high:
            raise ValueError("low must be below high")
        if self.log and self.low <= 0:
            raise ValueError("with log, low must be above 0")
        if self.step is not None:
            if self.log:
                raise ValueError("log and step exclude each other")
            steps = (self.high - self.low) / self.step
            if abs(steps - round(steps)) > ROUNDING * steps:
                raise ValueError("high must be a whole number of steps above low")
        return self

    def samples(self) -> tuple[Scalar, ...]:
        """Values that show whether a setting can take the range: its ends, and a step from the lower one."""
        return (self.low, self.high) if self.step is None else (self.low, self.low + self.step, self.high)


class Choices(Frozen):
    """The listed values.

    Attributes:
        choices: each once.
    """

    choices: Annotated[tuple[Scalar, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _differ(self) -> Choices:
        # True and 1 are equal, but not the same choice.
        if len({(type(choice), choice) for choice in self.choices}) < len(self.choices):
            raise ValueError("a choice is listed twice")
        return self

    def samples(self) -> tuple[Scalar, ...]:
        """All of them."""
        return self.choices


Space = Mapping[str, Range | Choices]
"""By setting of `edgedet.train.config.TrainConfig`, written `a.b.c`."""


def load_space(path: Path, base: Mapping[str, Any]) -> Space:
    """The space in a YAML file, every setting and every end of a range held to `TrainConfig`.

    Args:
        path: maps each setting to `{low, high, log}`, `{low, high, step}` or `{choices}`.
        base: the other settings, as nested mappings.

    Raises:
        EdgedetError: a setting is unknown, cannot be swept, or cannot take the values; or a range holds nothing.
    """
    values = load_yaml(path)
    if not values:
        raise EdgedetError(
            "names no setting", where=path, fix="for example: optimizer.lr: {low: 1e-4, high: 1e-2, log: true}"
        )
    space = {str(setting): _domain(str(setting), value, path) for setting, value in values.items()}
    # A setting may need one that is tried too, as those of a teacher need its checkpoint.
    others = {setting: domain.samples()[0] for setting, domain in space.items()}
    for setting, domain in space.items():
        for sample in domain.samples():
            resolve(base, {**others, setting: sample}, where=path)
        if isinstance(domain, Range) and not {int, float} & set(_kinds_of(setting)):
            raise EdgedetError("the setting is no number", where=f"{path}: {setting}", fix="write {choices: [...]}")
    return space


def resolve(base: Mapping[str, Any], chosen: Mapping[str, Any], *, where: object = None) -> TrainConfig:
    """The settings of a run: those of `base` with the chosen ones, by `a.b.c`, in their place."""
    values = dict(base)
    for setting, value in chosen.items():
        nested = value
        for part in reversed(setting.split(".")):
            nested = {part: nested}
        values = merged(values, nested)
    return parse(TrainConfig, values, where=where)


def is_whole(setting: str) -> bool:
    """Whether a setting of `TrainConfig` takes whole numbers only."""
    kinds = _kinds_of(setting)
    return int in kinds and float not in kinds


def _domain(setting: str, value: Any, path: Path) -> Range | Choices:
    where = f"{path}: {setting}"
    if setting in FIXED:
        raise EdgedetError("trials that differ in it cannot be compared", where=where, fix="give it in --config")
    if not isinstance(value, dict):
        raise EdgedetError(
            "holds no range and no choices", where=where, fix="write {low: ..., high: ...} or {choices: [...]}"
        )
    return parse(Choices, value, where=where) if "choices" in value else parse(Range, value, where=where)


def _kinds_of(setting: str) -> list[Any]:
    """The types that a setting, known to be one, may have."""
    kinds: list[Any] = [TrainConfig]
    for part in setting.split("."):
        fields = [kind.model_fields[part] for kind in kinds if part in getattr(kind, "model_fields", {})]
        kinds = [kind for field in fields for kind in _flat(field.annotation)]
    return kinds


def _flat(annotation: Any) -> list[Any]:
    arguments = get_args(annotation)
    return [kind for argument in arguments for kind in _flat(argument)] if arguments else [annotation]
