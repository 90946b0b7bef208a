"""The machine that this process runs on, as manifests describe it."""

from __future__ import annotations

from edgedet.trt import cuda, versions
from edgedet.trt.machine import read_machine
from edgedet.trt.manifest import Platform


def this_platform() -> Platform:
    """TensorRT, CUDA, the GPU and the board.

    Raises:
        ModuleNotFoundError: TensorRT's Python module is not installed.
        EdgedetError: there is no GPU, or a library cannot be loaded.
    """
    version = versions.installed()
    gpu = cuda.gpu()
    runtime, driver = cuda.cuda_versions()
    machine = read_machine()
    return Platform(
        tensorrt=str(version),
        compute_capability=gpu.compute_capability,
        gpu=gpu.name,
        multiprocessors=gpu.multiprocessors,
        cuda_runtime=runtime,
        cuda_driver=driver,
        board=machine.board,
        jetpack=machine.jetpack,
        l4t=machine.l4t,
        power_mode=machine.power_mode,
        driver=machine.driver,
    )
