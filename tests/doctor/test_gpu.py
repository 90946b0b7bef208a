"""CUDA and GPUs as they answer, and what doctor says of them."""

from __future__ import annotations

import pytest

from edgedet.doctor.check import BROKEN, MISSING, OK, WARNING, Check
from edgedet.doctor.gpu import check_gpu
from edgedet.errors import EdgedetError
from edgedet.trt import cuda
from edgedet.trt.machine import Machine

PC, PC_WITH_DRIVER, ORIN = Machine(), Machine(driver="580.65.06"), Machine(l4t="36.4.3")
GPU = cuda.Gpu("Orin", "8.7", 8, 7991 << 20)


def checks(
    monkeypatch: pytest.MonkeyPatch,
    versions: tuple[str, str] | EdgedetError,
    gpu: cuda.Gpu | EdgedetError = GPU,
    machine: Machine = PC_WITH_DRIVER,
) -> list[Check]:
    def give(answer: object) -> object:
        if isinstance(answer, EdgedetError):
            raise answer
        return answer

    monkeypatch.setattr(cuda, "cuda_versions", lambda: give(versions))
    monkeypatch.setattr(cuda, "gpu", lambda: give(gpu))
    return list(check_gpu(machine))


def test_a_gpu_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    versions, gpu = checks(monkeypatch, ("12.6", "12.6"), machine=ORIN)
    assert versions == Check("CUDA", OK, "runtime 12.6; the driver knows 12.6")
    assert gpu == Check("GPU", OK, "Orin, compute capability 8.7, 8 multiprocessors, 7.8 GiB")


@pytest.mark.parametrize(
    ("runtime", "driver", "state"),
    [
        ("12.6", "12.6", OK),
        ("12.6", "13.0", OK),
        ("12.9", "12.10", OK),
        ("12.10", "12.9", WARNING),
        ("12.8", "12.4", WARNING),
        ("13.0", "12.9", BROKEN),
        ("10.2", "10.2", OK),
    ],
)
def test_a_driver_may_be_newer_than_the_runtime_and_not_much_older(
    monkeypatch: pytest.MonkeyPatch, runtime: str, driver: str, state: str
) -> None:
    found = checks(monkeypatch, (runtime, driver))[0]
    assert found.state == state
    assert (found.fix is None) == (state == OK)


def test_no_cuda_is_missing_in_one_line_where_nothing_could_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    error = EdgedetError("there is no CUDA runtime library", fix="install CUDA")
    assert checks(monkeypatch, error, machine=PC) == [
        Check("CUDA", MISSING, "for engines; there is no CUDA runtime library")
    ]
    for machine in (PC_WITH_DRIVER, ORIN):
        (found,) = checks(monkeypatch, error, machine=machine)
        assert (found.state, found.fix) == (MISSING, "install CUDA")


def test_no_driver_is_missing_and_a_container_without_it_is_told_how(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = checks(monkeypatch, ("13.0", "0.0"), machine=PC)
    assert found == Check("CUDA", MISSING, "runtime 13.0; no driver is in reach")
    (found,) = checks(monkeypatch, ("13.0", "0.0"), machine=PC_WITH_DRIVER)
    assert found.state == MISSING and "--gpus all" in (found.fix or "")


def test_a_gpu_that_does_not_answer_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    error = EdgedetError("CUDA: no CUDA-capable device is detected (cudaGetDevice, error 100)")
    versions, gpu = checks(monkeypatch, ("12.6", "12.6"), error)
    assert versions.state == OK
    assert gpu.state == BROKEN and "error 100" in gpu.detail
