"""The computer that figures were measured on."""

from __future__ import annotations

import os
import platform
from contextlib import closing
from pathlib import Path

from edgedet.bench.machine import kernel_files
from edgedet.bench.machine.nvml import find_nvml
from edgedet.bench.machine.processor import read_processor
from edgedet.config import Frozen
from edgedet.errors import EdgedetError
from edgedet.trt import cuda
from edgedet.trt.machine import read_machine


class Computer(Frozen):
    """What stays as it is until somebody changes hardware or the system. `edgedet.bench.machine.clocks` has the rest.

    Attributes:
        cpu: its name; of an ARM board the board's, else implementer and part of each kind of core.
        cpu_flags: those by which runtimes choose their kernels, sorted.
        cpu_count: CPUs that the system has, hyperthreads counted.
        memory_bytes: of the computer; on a Jetson the GPU's too.
        system, kernel, architecture: e.g. `Linux`, `6.8.0-45-generic` and `x86_64`.
        board: as the device tree calls it; PCs have none.
        jetpack, l4t: versions of a Jetson's software.
        gpu: the GPU's name, where it was asked for.
        gpu_driver: version of NVIDIA's kernel module.
        is_virtual: whether there is a hypervisor below; None on ARM, which does not say.
    """

    cpu: str
    cpu_flags: tuple[str, ...] = ()
    cpu_count: int | None = None
    memory_bytes: int | None = None
    system: str
    kernel: str
    architecture: str
    board: str | None = None
    jetpack: str | None = None
    l4t: str | None = None
    gpu: str | None = None
    gpu_driver: str | None = None
    is_virtual: bool | None = None


def read_computer(root: Path = kernel_files.ROOT, *, gpu: str | None = None) -> Computer:
    """What this computer says of itself. Needs no rights; a file that cannot be read or understood counts as absent.

    Args:
        root: the folder that holds `proc`, `sys`, `etc` and `var`; system, kernel, architecture and the number of CPUs
            are those of the system that runs.
        gpu: the name of the GPU that computes, see `gpu_of_engines` and `gpu_of_other_runtimes`.
    """
    machine = read_machine(root)
    processor = read_processor(kernel_files.text(root / "proc/cpuinfo") or "")
    return Computer(
        cpu=processor.board or machine.board or processor.name or ", ".join(processor.parts) or "unknown",
        cpu_flags=processor.flags,
        cpu_count=os.cpu_count(),
        memory_bytes=machine.memory_bytes,
        system=platform.system(),
        kernel=platform.release(),
        architecture=platform.machine(),
        board=machine.board,
        jetpack=machine.jetpack,
        l4t=machine.l4t,
        gpu=gpu,
        gpu_driver=machine.driver,
        is_virtual=processor.is_virtual,
    )


def gpu_of_engines() -> str:
    """The name of CUDA's current GPU. To ask takes memory on it.

    Raises:
        EdgedetError: there is no CUDA or no GPU.
    """
    return cuda.gpu().name


def gpu_of_other_runtimes() -> str | None:
    """The name of the computer's only NVIDIA GPU; None where there is none, or several, or the driver does not say."""
    try:
        found = find_nvml()
        if found is None:
            return None
        with closing(found):
            return found.gpu_name()
    except EdgedetError:
        return None
