"""Typed, frozen configuration: YAML in, `--set a.b=c` on top, unknown keys refused with the nearest valid one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from edgedet.errors import EdgedetError, nearest
from edgedet.files import MEBIBYTE, read_text, write_text


class Frozen(BaseModel):
    """Base of every configuration and specification: immutable, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


T = TypeVar("T", bound=Frozen)


def parse(kind: type[T], values: Mapping[str, Any], *, where: object = None) -> T:
    """`values` as a `kind`; a wrong or unknown key becomes one readable error."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise _readable(kind, error, where) from error


def load_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file of at most 1 MiB (safe loader: plain data only)."""
    try:
        value = yaml.safe_load(read_text(path, limit=MEBIBYTE))
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = path if mark is None else f"{path}:{mark.line + 1}"
        problem = getattr(error, "problem", None) or "cannot be parsed"
        raise EdgedetError(f"not valid YAML ({problem})", where=place) from error
    if not isinstance(value, dict):
        raise EdgedetError("holds no mapping of keys to values", where=path)
    return value


def save_yaml(path: Path, config: BaseModel) -> None:
    """Writes the full resolved configuration, all or nothing."""
    write_text(path, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


def override(values: dict[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """A copy of `values` with each `a.b=c` set; the right side is read as YAML (`true`, `3`, `[1, 2]`)."""
    result = _copy(values)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key:
            raise EdgedetError(f"{assignment!r} is no assignment", where="--set", fix="write --set key.subkey=value")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise EdgedetError(f"the value of {assignment!r} is not valid YAML", where="--set") from error
        *parents, last = key.split(".")
        node = result
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise EdgedetError(f"{parent!r} holds a value, not further keys", where=f"--set {assignment}")
        node[last] = value
    return result


def _copy(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in values.items()}


def _readable(kind: type[BaseModel], error: ValidationError, where: object) -> EdgedetError:
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        options = _keys_beside(kind, first["loc"])
        close = nearest(str(first["loc"][-1]), options)
        fix = f"did you mean {close!r}?" if close else f"valid keys: {', '.join(options)}"
        return EdgedetError(f"unknown key {key!r}", where=where, fix=fix)
    return EdgedetError(f"{key or 'value'}: {first['msg']} (got {first['input']!r:.80})", where=where)


def _keys_beside(kind: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    model: Any = kind
    for part in location[:-1]:
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            return []
        model = field.annotation
    return list(getattr(model, "model_fields", {}))
