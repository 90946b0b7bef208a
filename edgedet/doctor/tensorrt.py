"""TensorRT: its Python module, the library below it, and what is known not to work with it here."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from edgedet.doctor.check import BROKEN, MISSING, OK, WARNING, Check
from edgedet.errors import EdgedetError
from edgedet.files import MEBIBYTE, read_bytes
from edgedet.trt import cuda, versions
from edgedet.trt.known_bad import known_faults
from edgedet.trt.machine import Machine
from edgedet.trt.versions import Version

MAPS_LIMIT = 16 * MEBIBYTE
KEEP_ONE = "keep one TensorRT: look into LD_LIBRARY_PATH, pip list and dpkg --list"

WHEEL_FOLDERS = ("tensorrt_libs", "tensorrt_cu12_libs", "tensorrt_cu13_libs")
"""Where packages of pip have the library."""

PYTHON_OF_JETPACK: Mapping[int, str] = {32: "3.6", 35: "3.8", 36: "3.10", 38: "3.12", 39: "3.12"}
"""The system's Python, which alone JetPack has TensorRT's module for, by L4T's major version."""

OLDEST_FOR_EDGEDET = 36
"""L4T before has a Python that edgedet does not run on."""

CUDA_13_DRIVER = 580
"""The oldest driver for CUDA 13. Source: release notes of the CUDA Toolkit, "Minimum Required Driver Version"."""


def check_tensorrt(machine: Machine, maps: Path = Path("/proc/self/maps")) -> Iterator[Check]:
    """Whether TensorRT is there and of one piece, then its known faults.

    Args:
        machine: this one.
        maps: what is loaded into this process (proc_pid_maps(5)).
    """
    try:
        found = str(versions.module().__version__)
        version = Version.parse(found)
    except ModuleNotFoundError:
        yield Check("TensorRT", MISSING, f"for engines; {how_to_get(machine)}")
        return
    except EdgedetError as error:
        yield Check("TensorRT", BROKEN, error.what, fix=f"{error.fix}; {how_to_get(machine)}")
        return
    libraries = loaded_libraries(maps)
    yield _of_one_piece(found, libraries)
    from_wheel = any(folder in path.parts for path in libraries for folder in WHEEL_FOLDERS)
    for fault in known_faults(version, machine, _compute_capability(), from_wheel=from_wheel):
        state = BROKEN if fault.is_fatal else WARNING
        yield Check(f"known fault {fault.name}", state, f"{fault.what} ({fault.source})", fix=fault.fix)


def how_to_get(machine: Machine) -> str:
    """In one line, what gives this machine TensorRT."""
    if machine.l4t is not None:
        major = machine.l4t_numbers[0]
        python = PYTHON_OF_JETPACK.get(major, "of the system")
        if major < OLDEST_FOR_EDGEDET:
            return f"JetPack has its module for Python {python} alone: build with edgedet build MODEL --emit-trtexec"
        return f"sudo apt install nvidia-jetpack, and python3 -m venv --system-site-packages with Python {python}"
    if machine.driver is None:
        return "needs an NVIDIA GPU and its driver"
    newest = int(machine.driver.split(".")[0]) >= CUDA_13_DRIVER
    return f"pip install {'tensorrt-cu13' if newest else 'tensorrt-cu12'}"


def loaded_libraries(maps: Path) -> list[Path]:
    """The files of TensorRT's main library in a process, by its list of what is mapped."""
    try:
        lines = read_bytes(maps, limit=MAPS_LIMIT).splitlines()
    except EdgedetError:
        return []
    found = (re.search(rb" (/.*/libnvinfer\.so(?:\.\d+)*)$", line) for line in lines)
    return [Path(os.fsdecode(path)) for path in dict.fromkeys(match[1] for match in found if match is not None)]


def library_version(path: Path) -> Version | None:
    """The version that a loaded library says it has; None where it does not say.

    Source: `getInferLibVersion` and NV_TENSORRT_VERSION of NvInferRuntimeBase.h: 8601 is 8.6.1, 100300 is 10.3.0.
    """
    try:
        number = int(ctypes.CDLL(str(path)).getInferLibVersion())
    except (OSError, AttributeError):
        return None
    thousand = 10_000 if number >= 10_000 else 1000
    return Version(number // thousand, number % thousand // 100, number % 100)


def _of_one_piece(found: str, libraries: list[Path]) -> Check:
    others = {path: library_version(path) for path in libraries}
    wrong = [path for path, version in others.items() if version != Version.parse(found)]
    if wrong:
        detail = f"its module is of {found}, and loaded {wrong[0]} of {others[wrong[0]] or 'an unknown version'}"
        return Check("TensorRT", BROKEN, detail, fix=KEEP_ONE)
    return Check("TensorRT", OK, ", ".join([found, *map(str, libraries)]))


def _compute_capability() -> str | None:
    try:
        return cuda.gpu().compute_capability
    except EdgedetError:
        return None
