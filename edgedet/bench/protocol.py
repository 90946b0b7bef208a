"""What figures depend on besides the model: figures of different protocols are not compared."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from edgedet import __version__
from edgedet.bench.machine.clocks import ClockSettings
from edgedet.bench.machine.identity import Computer
from edgedet.bench.settings import Settings
from edgedet.config import Digest, Frozen
from edgedet.spec import Postprocess, Preprocess

PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "tensorrt", "torch")

OF_THE_LENGTH = ("iterations", "duration", "average_runs", "percentiles")

OF_THE_MODEL = ("lowering", "strongly_typed", "keep_quantizers")
"""Settings of backends that a model's file decides, as it decides its graph: an engine in float16 and one in INT8 have
different ones, and are compared."""

Plain = str | int | float | bool | None


class Model(Frozen):
    """The file that was measured.

    Attributes:
        path: as it was given.
        sha256: of its bytes.
        architecture: the name that it was made under.
        class_count: how many classes it tells apart.
        random_weights: whether it was trained at all.
        postprocess: its own settings of NMS.
    """

    path: str
    sha256: Digest
    architecture: str
    class_count: int
    random_weights: bool
    postprocess: Postprocess


class Protocol(Frozen):
    """What a measurement was made with. Two with the same protocol may be compared.

    Attributes:
        settings: what was asked for.
        computer, clocks: the machine.
        cpus: those that the process was bound to; None where the system cannot bind.
        software: versions by package.
        backend: what ran the network.
        backend_settings: what else its speed depends on, by name.
        operators_sha256: of the library of operators that was loaded.
        preprocess: how images went in: the size of the network's input, too.
        batch: images a query.
    """

    version: Literal[1] = 1
    settings: Settings
    computer: Computer
    clocks: ClockSettings
    cpus: tuple[int, ...] | None
    software: Mapping[str, str]
    backend: str
    backend_settings: Mapping[str, Plain]
    operators_sha256: Digest | None
    preprocess: Preprocess
    batch: int


def differences(one: Protocol, other: Protocol) -> tuple[str, ...]:
    """In what two protocols differ, e.g. `computer.cpu: AMD EPYC, Cortex-A76`; empty where figures may be compared.

    Where files lie, and which of equal cores was taken, changes no figure: those are not compared.
    """
    return tuple(_differences("", compared_values(one), compared_values(other)))


def compared_values(protocol: Protocol) -> dict[str, Any]:
    """What has to be the same for figures to be compared: how long was measured, and what was told of it, has not."""
    values = protocol.model_dump(mode="json")
    values["cpus"] = None if protocol.cpus is None else len(protocol.cpus)
    values["settings"]["input"].pop("path")
    for name in OF_THE_LENGTH:
        values["settings"].pop(name)
    for name in OF_THE_MODEL:
        values["backend_settings"].pop(name, None)
    return values


def _differences(name: str, one: Any, other: Any) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in (*one, *(key for key in other if key not in one)):
            yield from _differences(f"{name}.{key}" if name else str(key), one.get(key), other.get(key))
    elif one != other:
        yield f"{name}: {_said(one)}, {_said(other)}"


def _said(value: Any) -> str:
    return "none" if value is None else str(value)


def installed_software() -> dict[str, str]:
    """Versions of what takes part in a measurement, by package."""
    found = {"edgedet": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
