"""Typed, frozen configuration: YAML in, `--set a.b=c` on top, unknown keys refused with the nearest valid one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgedet.errors import EdgedetError, nearest, unknown_value
from edgedet.files import MEBIBYTE, read_text, write_text

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
"""A SHA-256, as hex."""


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
    """The mapping in a YAML file of at most 1 MiB: plain data only, no aliases."""
    value = _parse_yaml(read_text(path, limit=MEBIBYTE), path)
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
        value = _parse_yaml(text, f"--set {assignment}")
        *parents, last = key.split(".")
        node = result
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise EdgedetError(f"{parent!r} holds a value, not further keys", where=f"--set {assignment}")
        node[last] = value
    return result


def merged(values: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with those of `over` in their place, mapping by mapping."""
    result = _copy(values)
    for key, value in over.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return result


class _PlainLoader(yaml.SafeLoader):
    """Refuses aliases: ten lines of them stand for more data than fits in memory."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="aliases are not read", problem_mark=self.peek_event().start_mark)
        return super().compose_node(parent, index)


def _parse_yaml(text: str, where: object) -> Any:
    try:
        return yaml.load(text, _PlainLoader)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f":{error.problem_mark.line + 1}"
        raise EdgedetError(f"not valid YAML ({error.problem})", where=f"{where}{line}") from error
    except Exception as error:
        # PyYAML lets out what its converters raise: ValueError for the date 2000-99-99, KeyError for `!!bool x`.
        raise EdgedetError(f"not valid YAML ({type(error).__name__})", where=where) from error


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
    if first["type"] == "literal_error":
        options = re.findall(r"'([^']*)'", first["ctx"]["expected"])
        unknown = unknown_value("value", str(first["input"])[:80], options)
        return EdgedetError(f"{key}: {unknown.what}", where=where, fix=unknown.fix)
    if first["type"] == "missing":
        *above, last = key.split(".")
        fix = f"give it, or leave the other settings of {'.'.join(above)} out" if above else f"give {last}"
        return EdgedetError(f"{key}: must be given", where=where, fix=fix)
    message = first["msg"].removeprefix("Value error, ")
    return EdgedetError(f"{key or 'value'}: {message} (got {first['input']!r:.80})", where=where)


def _keys_beside(kind: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The valid keys of the model in which the last part of `location` was found."""
    models = [kind]
    for part in location[:-1]:
        fields = [model.model_fields[part] for model in models if isinstance(part, str) and part in model.model_fields]
        # A position in a list leads to the model that the list's type already named.
        models = [model for field in fields for model in _models_in(field.annotation)] if fields else models
    return list(dict.fromkeys(name for model in models for name in model.model_fields))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
