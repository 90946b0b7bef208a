"""CUDA and the GPU."""

from __future__ import annotations

from collections.abc import Iterator

from edgedet.doctor.check import BROKEN, GIBIBYTE, MISSING, OK, WARNING, Check
from edgedet.errors import EdgedetError
from edgedet.trt import cuda
from edgedet.trt.machine import Machine

NO_DRIVER = "0.0"
"""CUDA's version by a driver that is not there."""


def check_gpu(machine: Machine) -> Iterator[Check]:
    """CUDA's runtime library beside the driver, then the GPU, where there is a driver."""
    try:
        runtime, driver = cuda.cuda_versions()
    except EdgedetError as error:
        yield Check("CUDA", MISSING, f"for engines; {error.what}", fix=error.fix if _has_driver(machine) else None)
        return
    if driver == NO_DRIVER:
        yield Check("CUDA", MISSING, f"runtime {runtime}; no driver is in reach", fix=_fix_for_driver(machine))
        return
    yield _versions(runtime, driver)
    try:
        gpu = cuda.gpu()
    except EdgedetError as error:
        yield Check("GPU", BROKEN, error.what, fix="see what nvidia-smi says; give a container the GPU")
        return
    details = (
        gpu.name,
        f"compute capability {gpu.compute_capability}",
        f"{gpu.multiprocessors} multiprocessors",
        f"{gpu.memory_bytes / GIBIBYTE:.1f} GiB",
    )
    yield Check("GPU", OK, ", ".join(details))


def _versions(runtime: str, driver: str) -> Check:
    """Source: NVIDIA's CUDA Compatibility, "Minor Version Compatibility": older drivers of a major version will do."""
    found = f"runtime {runtime}; the driver knows {driver}"
    if _numbers(runtime) <= _numbers(driver):
        return Check("CUDA", OK, found)
    fix = f"update the driver (on a Jetson: JetPack), or use a CUDA runtime up to {driver}"
    if _numbers(runtime)[0] > _numbers(driver)[0]:
        return Check("CUDA", BROKEN, f"{found}: too old for this runtime", fix=fix)
    return Check("CUDA", WARNING, f"{found}: kernels that come as PTX alone do not load", fix=fix)


def _has_driver(machine: Machine) -> bool:
    return machine.driver is not None or machine.l4t is not None


def _fix_for_driver(machine: Machine) -> str | None:
    """A kernel that has the driver, and a process that does not see it: a container."""
    return "start the container with --gpus all, on a Jetson --runtime nvidia" if _has_driver(machine) else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
