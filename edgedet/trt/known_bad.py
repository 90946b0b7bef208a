"""What is known not to work with some versions of TensorRT on some machines, and reaches users of this program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgedet.trt.machine import Machine
from edgedet.trt.versions import Version

WITH_DLA = ("AGX Orin", "Orin NX", "Xavier")
"""Boards with deep learning accelerators, by what their names hold."""

OF_TENSORRT_11 = ("AGX Orin", "Thor")
"""Boards that TensorRT 11.4.1 supports."""


@dataclass(frozen=True)
class Setting:
    """Where TensorRT runs.

    Attributes:
        version: of TensorRT.
        machine: the board or computer.
        compute_capability: of the GPU, e.g. (8, 7); None where it is not known.
        from_wheel: the library came by pip.
    """

    version: Version
    machine: Machine
    compute_capability: tuple[int, int] | None
    from_wheel: bool


@dataclass(frozen=True)
class KnownFault:
    """One thing that does not work.

    Attributes:
        name: as it is printed.
        first, before: the first version that has it, and the first that has it no more; None while there is none.
        where: whether a machine has it.
        is_fatal: no engine is built or run; else only some are not.
        what: what happens.
        fix: what to do about it.
        source: who says so.
    """

    name: str
    first: Version
    before: Version | None
    where: Callable[[Setting], bool]
    is_fatal: bool
    what: str
    fix: str
    source: str

    def hits(self, setting: Setting) -> bool:
        """Whether it is met there."""
        in_range = self.first <= setting.version and (self.before is None or setting.version < self.before)
        return in_range and self.where(setting)


def known_faults(
    version: Version, machine: Machine, compute_capability: str | None, *, from_wheel: bool = False
) -> tuple[KnownFault, ...]:
    """What is known not to work with a version of TensorRT on a machine.

    Args:
        version: of TensorRT.
        machine: the board or computer.
        compute_capability: of its GPU, e.g. `8.7`; None where it is not known.
        from_wheel: the library came by pip.
    """
    numbers = None
    if compute_capability is not None:
        major, _, minor = compute_capability.partition(".")
        numbers = int(major), int(minor)
    setting = Setting(version, machine, numbers, from_wheel)
    return tuple(fault for fault in FAULTS if fault.hits(setting))


def _anywhere(setting: Setting) -> bool:
    return True


def _below(major: int, minor: int) -> Callable[[Setting], bool]:
    """GPUs of a lower compute capability."""
    return lambda setting: setting.compute_capability is not None and setting.compute_capability < (major, minor)


def _jetpack_6(setting: Setting) -> bool:
    return setting.machine.l4t_numbers[:1] == (36,)


def _server_build_on_orin(setting: Setting) -> bool:
    """For L4T itself NVIDIA built TensorRT up to 10.7."""
    is_orin = setting.machine.l4t_numbers[:1] in ((35,), (36,)) and setting.compute_capability in (None, (8, 7))
    return is_orin and (setting.from_wheel or setting.version >= Version(10, 8))


def _jetpack_7(setting: Setting) -> bool:
    return setting.machine.l4t_numbers >= (38,)


def _jetpack_7_outside_of_11(setting: Setting) -> bool:
    """JetPack 7.2.2 is L4T 39.2.2."""
    too_old = setting.machine.l4t_numbers < (39, 2, 2)
    return _jetpack_7(setting) and (too_old or not _board_is_of(OF_TENSORRT_11, setting))


def _has_dla(setting: Setting) -> bool:
    return _board_is_of(WITH_DLA, setting)


def _board_is_of(names: tuple[str, ...], setting: Setting) -> bool:
    return any(name in (setting.machine.board or "") for name in names)


FAULTS = (
    KnownFault(
        "no-pascal",
        first=Version(10),
        before=Version(10, 5),
        where=_below(7, 0),
        is_fatal=True,
        what="TensorRT 10 has no kernels for GPUs of a compute capability below 7.0",
        fix="use TensorRT 8.6",
        source="NVIDIA/TensorRT#3826; TensorRT 10.1 support matrix",
    ),
    KnownFault(
        "no-volta",
        first=Version(10, 5),
        before=None,
        where=_below(7, 5),
        is_fatal=True,
        what="TensorRT from 10.5 on has no kernels for GPUs of a compute capability below 7.5",
        fix="use TensorRT 10.4 on Volta, 8.6 before it, and on a Jetson JetPack's own",
        source="https://docs.nvidia.com/deeplearning/tensorrt/latest/getting-started/release-notes-10/10.5.0.html",
    ),
    KnownFault(
        "server-build-on-orin",
        first=Version(10, 5),
        before=None,
        where=_server_build_on_orin,
        is_fatal=True,
        what="wheels and packages for ARM servers stop on Orin with JetPack 5 and 6: Target GPU SM 87 is not supported",
        fix="remove it and use JetPack's: sudo apt install nvidia-jetpack",
        source="https://forums.developer.nvidia.com/t/364236",
    ),
    KnownFault(
        "wrong-library-10.2",
        first=Version(10, 2, 0),
        before=Version(10, 2, 1),
        where=_anywhere,
        is_fatal=False,
        what="the builder asks for a library of Windows, libnvinfer_builder_resource_win.so.10.2.0, and stops",
        fix="install another version of TensorRT",
        source="ultralytics/ultralytics#24367",
    ),
    KnownFault(
        "int8-topk-10.3",
        first=Version(10, 3, 0),
        before=Version(10, 3, 1),
        where=_jetpack_6,
        is_fatal=False,
        what="INT8 engines of graphs that end in TopK, as of end-to-end heads, are not built: "
        "region should have been removed from Graph::regions",
        fix="build from a file without NMS or with edgedet's operator for it, or with --precision fp16",
        source="ultralytics/ultralytics#23841 and #26655",
    ),
    KnownFault(
        "no-dla",
        first=Version(10, 8),
        before=Version(11, 4, 1),
        where=_has_dla,
        is_fatal=False,
        what="the board's deep learning accelerators cannot be used: TensorRT 10.7 and, on AGX Orin, 11.4.1 can",
        fix="build for the GPU: leave --dla out",
        source="https://docs.nvidia.com/deeplearning/tensorrt/11.4.1/api/migration/tensorrt-10x-to-11x-jetson.html",
    ),
    KnownFault(
        "no-jetpack",
        first=Version(11),
        before=Version(11, 4, 1),
        where=_jetpack_7,
        is_fatal=False,
        what="NVIDIA does not support TensorRT 11.0 to 11.4.0 on Jetson",
        fix="use JetPack's TensorRT 10, or 11.4.1 with JetPack 7.2.2 on AGX Orin and Thor",
        source="https://docs.nvidia.com/deeplearning/tensorrt/11.4.1/api/migration/tensorrt-10x-to-11x-jetson.html",
    ),
    KnownFault(
        "other-jetpack",
        first=Version(11, 4, 1),
        before=None,
        where=_jetpack_7_outside_of_11,
        is_fatal=False,
        what="NVIDIA supports TensorRT 11.4.1 on AGX Orin and Thor alone, with JetPack 7.2.2 or later",
        fix="update JetPack there; on other boards use JetPack's TensorRT 10",
        source="https://docs.nvidia.com/deeplearning/tensorrt/11.4.1/api/migration/tensorrt-10x-to-11x-jetson.html",
    ),
    KnownFault(
        "no-weak-typing",
        first=Version(11),
        before=None,
        where=_anywhere,
        is_fatal=False,
        what="options such as trtexec --fp16 choose no precision any more, the file's types do: "
        "float32 files become float32 engines",
        fix="edgedet build lowers the file; for other builders: edgedet export --target trt11",
        source="https://docs.nvidia.com/deeplearning/tensorrt/11.4.0/api/migration/tensorrt-10x-to-11x.html",
    ),
)
