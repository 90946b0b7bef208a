"""Measuring again as it was measured before."""

from __future__ import annotations

from pathlib import Path

from edgedet.bench.protocol import Protocol
from edgedet.bench.result import read_json
from edgedet.bench.settings import Input, Settings
from edgedet.config import parse
from edgedet.errors import EdgedetError

WORDS = {"dataset": "a dataset", "image": "an image", "generated": "the generated image", "tensor": "a tensor"}


def read_protocol(path: Path) -> Protocol:
    """The protocol in a result of `edgedet bench --save`, or a protocol alone.

    Raises:
        EdgedetError: the file is something else.
    """
    value = read_json(path)
    if isinstance(value, dict) and value.get("kind") == "bench":
        value = value.get("protocol")
    if not isinstance(value, dict):
        raise EdgedetError("holds no protocol", where=path, fix="give what edgedet bench --save wrote")
    return parse(Protocol, value, where=path)


def settings_of(protocol: Protocol, given: Input) -> Settings:
    """The settings to measure with again.

    Args:
        protocol: of the measurement before.
        given: where its input is now; generated means where it was.

    Raises:
        EdgedetError: the input given is of another kind.
    """
    settings = protocol.settings
    recorded = settings.input
    if given.kind == "generated":
        return settings
    if given.kind != recorded.kind:
        fix = "give the same, or nothing where it still lies where it was"
        raise EdgedetError(f"the protocol is of {WORDS[recorded.kind]}, not of {WORDS[given.kind]}", fix=fix)
    moved = recorded.model_copy(update={"path": given.path})
    return settings.model_copy(update={"input": moved})
