"""All checks. Each looks at one thing and says how it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from edgedet.doctor.board import check_board
from edgedet.doctor.check import Check
from edgedet.doctor.computer import check_device, check_python
from edgedet.doctor.gpu import check_gpu
from edgedet.doctor.libraries import check_cpu_kernels, check_library
from edgedet.doctor.packages import check_packages, check_providers
from edgedet.doctor.tensorrt import check_tensorrt
from edgedet.trt.machine import read_machine


def check_all(plugins: Sequence[Path] = ()) -> Iterator[Check]:
    """Every check of this device, then those of the libraries given."""
    machine = read_machine()
    yield check_device(machine)
    yield from check_board(machine)
    yield check_python()
    yield from check_packages()
    yield from check_providers()
    yield check_cpu_kernels()
    yield from check_gpu(machine)
    yield from check_tensorrt(machine)
    yield from (check_library(path) for path in plugins)
