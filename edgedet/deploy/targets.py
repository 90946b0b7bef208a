"""What a bundle can be made for: boards and their software, read from `export/targets` and `export/jetpacks.yaml`.

A board is one file. What JetPack brings is written once, by JetPack, and a board names those that it has: the bundle
for a board is made for one of them.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from edgedet.config import Frozen, load_yaml, parse
from edgedet.deploy.sources import source_folder
from edgedet.errors import EdgedetError, unknown_value
from edgedet.trt.machine import JETPACKS
from edgedet.trt.versions import FP16, INT8, Version, is_strongly_typed, lowering

Text = Annotated[str, Field(max_length=1000)]
Short = Annotated[str, Field(max_length=100)]

MACHINES = ("aarch64", "x86_64")


class Software(Frozen):
    """What is installed on a device.

    Attributes:
        jetpack: the JetPack, as `export/jetpacks.yaml` calls it; None elsewhere.
        releases: JetPack's versions that have all of this.
        ubuntu, python, cuda, cudnn, tensorrt: versions; None where it is not settled or there is none.
        compiler, cmake: of the system, or the oldest that will do where there is no one system.
        note: what else must be known.
    """

    jetpack: Short | None = None
    releases: tuple[Short, ...] = ()
    ubuntu: Short | None = None
    python: Short | None = None
    cuda: Short | None = None
    cudnn: Short | None = None
    tensorrt: Short | None = None
    compiler: Short
    cmake: Short
    note: Text | None = None

    @property
    def l4t(self) -> tuple[str, ...]:
        """Versions of Jetson's Linux that belong to the releases."""
        return tuple(l4t for l4t, jetpack in JETPACKS.items() if jetpack in self.releases)


class Power(Frozen):
    """Power modes by the names in the board's own table, `/etc/nvpmodel.conf`: their ids are different on each board.

    Attributes:
        fastest: the mode that limits no clock; None where there is no such mode.
        earlier: the same with JetPacks that call it otherwise, or do not have it.
        modes: all of them, where they are known.
        note: what else must be known.
    """

    fastest: Short | None = None
    earlier: dict[Short, Short | None] = Field(default_factory=dict)
    modes: tuple[Short, ...] = ()
    note: Text | None = None


class Board(Frozen):
    """A file in `export/targets`.

    Attributes:
        title: its name in words.
        machine: as `uname -m` says.
        backend: what runs the network.
        compute_capability: of the GPU; None where it is not one kind.
        boards: how the device tree's `model` begins after `NVIDIA`; none where that does not matter.
        jetpacks: those that there are for it; none elsewhere.
        default_jetpack: the newest of which sources agree on TensorRT's exact version.
        software: of what is no Jetson.
        power, dla_cores, note: what else there is to know.
        verified, unverified: what has been proved of it, and what has not.
    """

    title: Short
    machine: Literal["aarch64", "x86_64"]
    backend: Literal["tensorrt", "onnxruntime"]
    compute_capability: Short | None = None
    boards: tuple[Short, ...] = ()
    jetpacks: tuple[Short, ...] = ()
    default_jetpack: Short | None = None
    software: Software | None = None
    power: Power
    dla_cores: Short
    note: Text | None = None
    verified: tuple[Text, ...]
    unverified: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _software_is_settled(self) -> Board:
        if (self.software is None) == (not self.jetpacks):
            raise ValueError("give either software or jetpacks")
        if self.jetpacks and self.default_jetpack not in self.jetpacks:
            raise ValueError("default_jetpack must be one of jetpacks")
        return self


class Target(Frozen):
    """A board with the software that a bundle is made for.

    Attributes:
        name: of the file in `export/targets`.
    """

    name: Short
    board: Board
    software: Software

    @property
    def tensorrt(self) -> Version | None:
        """TensorRT's version; None where ONNX Runtime runs the network."""
        if self.board.backend != "tensorrt" or self.software.tensorrt is None:
            return None
        return Version.parse(self.software.tensorrt)

    @property
    def fastest_mode(self) -> str | None:
        """The power mode that limits no clock, by its name; None where there is none."""
        power = self.board.power
        return power.earlier.get(self.software.jetpack or "", power.fastest)

    def lowering(self, *, quantized: bool) -> str:
        """Which of `edgedet.graph.targets.TARGETS` the network is lowered for."""
        if self.tensorrt is None:
            return "ort-cpu" if quantized else "fp32"
        typed = is_strongly_typed(self.tensorrt)
        return lowering(self.tensorrt, INT8 if quantized else FP16, strongly_typed=typed)

    def __str__(self) -> str:
        return self.name if self.software.jetpack is None else f"{self.name} (JetPack {self.software.jetpack})"


def target_names() -> list[str]:
    """All targets."""
    return sorted(path.stem for path in _folder().glob("targets/*.yaml"))


def load_target(name: str, *, jetpack: str | None = None, tensorrt: str | None = None) -> Target:
    """The target of a name.

    Args:
        name: one of `target_names()`.
        jetpack: version of JetPack, e.g. `6.2.1`; None takes the board's default.
        tensorrt: version of TensorRT, where it is another than the software's.

    Raises:
        EdgedetError: there is no such target, or not with this JetPack or TensorRT.
    """
    if name not in target_names():
        raise unknown_value("target", name, target_names(), where="--target")
    board = _board(name)
    software = _software(name, board, jetpack)
    if tensorrt is not None:
        if board.backend != "tensorrt":
            raise EdgedetError(f"{name} runs the network by ONNX Runtime", where="--tensorrt", fix="leave it out")
        version = str(Version.parse(tensorrt))
        software = software.model_copy(update={"tensorrt": version})
    return Target(name=name, board=board, software=software)


def all_targets() -> list[Target]:
    """Every target with each software that there is for it."""
    return [
        load_target(name, jetpack=jetpack) for name in target_names() for jetpack in (_board(name).jetpacks or [None])
    ]


def _software(name: str, board: Board, jetpack: str | None) -> Software:
    if board.software is not None:
        if jetpack is not None:
            raise EdgedetError(f"{name} is no Jetson", where="--jetpack", fix="leave --jetpack out")
        return board.software
    wanted = jetpack or board.default_jetpack
    known = [_jetpacks()[key] for key in board.jetpacks]
    for software in known:
        if wanted in (software.jetpack, *software.releases):
            return software
    there_are = [release for software in known for release in software.releases]
    raise unknown_value(f"JetPack for {name}", str(wanted), there_are, where="--jetpack")


def _folder() -> Path:
    return source_folder() / "export"


@lru_cache(maxsize=64)
def _board(name: str) -> Board:
    path = _folder() / "targets" / f"{name}.yaml"
    return parse(Board, load_yaml(path), where=path)


@lru_cache(maxsize=1)
def _jetpacks() -> dict[str, Software]:
    path = _folder() / "jetpacks.yaml"
    return {
        str(key): parse(Software, {"jetpack": str(key), **values}, where=f"{path}:{key}")
        for key, values in load_yaml(path).items()
    }
