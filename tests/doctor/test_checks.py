"""What works on this device, and what does not, with the reason."""

from __future__ import annotations

import ctypes.util
import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cuda_on_host
import numpy as np
import pytest
from nms_implementations import OPERATORS
from typer.testing import CliRunner

from edgedet.cli.app import app
from edgedet.doctor import packages
from edgedet.doctor.check import BROKEN, MISSING, OK, Check
from edgedet.doctor.checks import check_all
from edgedet.ops import _cpu
from edgedet.ops.cuda import CudaKernels
from edgedet.ops.diou_nms import native

CUDA_BUILD = cuda_on_host.LIBRARY.parents[1] / "cuda" / "libedgedet_cuda.so"
FOREIGN = {"x86_64": 183, "aarch64": 62}
OF_NVIDIA = ("CUDA", "GPU", "TensorRT")
"""What a machine may have or not."""


def of(name: str, *plugins: Path) -> Check:
    return {check.name: check for check in check_all(plugins)}[name]


def test_here_everything_works() -> None:
    found = {check.name: check for check in check_all()}
    assert {check.state for name, check in found.items() if name not in OF_NVIDIA} == {OK}
    assert BROKEN not in {check.state for check in found.values()}
    assert platform.machine() in found["device"].detail and "GiB" in found["device"].detail
    assert found["Python"].detail == f"{platform.python_version()}, {sys.executable}"
    assert found["numpy"].detail == np.__version__
    assert "CPUExecutionProvider" in found["ONNX Runtime"].detail


def test_a_package_that_is_not_there_is_missing_and_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(packages.PACKAGES, "no-such-package", ("no_such_package", "nothing; pip install it"))
    found = of("no-such-package")
    assert (found.state, found.detail) == (MISSING, "for nothing; pip install it")
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 0


def test_a_package_that_cannot_be_imported_is_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken_package.py").write_text("raise OSError('libsomething.so is not there')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(packages.PACKAGES, "broken-package", ("broken_package", "nothing"))
    found = of("broken-package")
    assert found.state == BROKEN and "libsomething.so is not there" in found.detail
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1 and "broken: broken-package" in result.stderr


def test_kernels_that_find_something_else_are_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    right = native.diou_nms
    monkeypatch.setattr(native, "diou_nms", lambda *inputs: tuple(part[1:] for part in right(*inputs)))
    assert of("CPU kernels").state == BROKEN


def test_kernels_that_cannot_be_loaded_are_broken_and_the_rest_is_looked_at() -> None:
    code = "import sys; sys.modules['edgedet.ops._cpu'] = None; from edgedet.cli.app import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "doctor", "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    found = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert found["numpy"]["state"] == OK
    kernels = found["CPU kernels"]
    assert kernels["state"] == BROKEN and "cannot be loaded" in kernels["detail"] and "pip install" in kernels["fix"]


class TestPlugins:
    def test_a_library_for_another_machine_is_not_opened(self, tmp_path: Path) -> None:
        content = bytearray(Path(_cpu.__file__).read_bytes())
        content[18:20] = FOREIGN[platform.machine()].to_bytes(2, "little")
        path = tmp_path / "foreign.so"
        path.write_bytes(content)
        found = of(str(path), path)
        assert found.state == BROKEN
        assert found.detail.startswith("built for ") and found.detail.endswith(f"this machine is {platform.machine()}")

    @pytest.mark.parametrize("content", [b"", b"text", b"\x7fELF"])
    def test_a_file_that_is_no_library(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "library.so"
        path.write_bytes(content)
        assert of(str(path), path).detail == "not a library for 64-bit Linux"

    def test_no_file(self, tmp_path: Path) -> None:
        assert of(str(tmp_path / "no.so"), tmp_path / "no.so").detail == "no such library"

    def test_a_library_of_something_else(self) -> None:
        path = Path(_cpu.__file__)
        assert of(str(path), path).detail.startswith("not one of edgedet's")

    def test_a_library_that_is_cut_off(self, tmp_path: Path) -> None:
        path = tmp_path / "half.so"
        whole = Path(_cpu.__file__).read_bytes()
        for length in (64, 200, 4000, len(whole) // 2):
            path.write_bytes(whole[:length])
            assert of(str(path), path).detail.startswith("cut off"), "opening it would end the process"

    def test_a_library_whose_needs_are_not_met(self, tmp_path: Path) -> None:
        content = Path(_cpu.__file__).read_bytes()
        assert content.count(b"libstdc++.so.6\0") == 1
        path = tmp_path / "needy.so"
        path.write_bytes(content.replace(b"libstdc++.so.6\0", b"libnowhere.so.\0"))
        found = of(str(path), path)
        assert found.detail.startswith("cannot be opened") and "libnowhere.so" in found.detail

    @pytest.mark.skipif(not OPERATORS.exists(), reason=f"{OPERATORS} is not built: make operators")
    def test_operators_are_tried(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = of(str(OPERATORS), OPERATORS)
        assert found.state == OK and "EdgeDetDIoUNMS and EdgeDetMish give what their bodies give" in found.detail

    @pytest.mark.skipif(
        not cuda_on_host.LIBRARY.exists(), reason=f"{cuda_on_host.LIBRARY} is not built: make operators"
    )
    def test_cuda_kernels_are_tried(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Here they run on the host."""
        path = cuda_on_host.LIBRARY
        found = of(str(path), path)
        assert found.state == OK
        assert found.detail == "CUDA kernels: DIoU-NMS on the GPU keeps what the reference keeps, 295 boxes"
        right = CudaKernels.diou_nms_of_host

        def wrong(self: CudaKernels, *inputs: Any) -> tuple[np.ndarray, ...]:
            num_dets, det_boxes, det_scores, det_classes = right(self, *inputs)
            return num_dets - 1, det_boxes, det_scores, det_classes

        monkeypatch.setattr(CudaKernels, "diou_nms_of_host", wrong)
        assert of(str(path), path).state == BROKEN

    @pytest.mark.skipif(not CUDA_BUILD.exists(), reason=f"{CUDA_BUILD} is not built: make cuda")
    @pytest.mark.skipif(ctypes.util.find_library("cuda") is not None, reason="there is a driver of CUDA")
    def test_without_a_gpu_what_is_missing_is_said(self) -> None:
        found = of(str(CUDA_BUILD), CUDA_BUILD)
        assert found.state == OK and found.detail.startswith(
            "opens; CUDA kernels; not run: CUDA did not start a kernel"
        )

    @pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
    def test_operators_of_others_do_not_pass_for_ours(self, tmp_path: Path) -> None:
        path = tmp_path / "others.so"
        source = "void *RegisterCustomOps(void *options, const void *base) { return 0; }"
        subprocess.run(["cc", "-shared", "-fPIC", "-xc", "-", "-o", path], input=source, text=True, check=True)
        found = of(str(path), path)
        assert found.state == BROKEN and "EdgeDetDIoUNMS" in found.detail


def test_json(monkeypatch: pytest.MonkeyPatch) -> None:
    result: Any = CliRunner().invoke(app, ["doctor", "--json"])
    shown = json.loads(result.stdout)["checks"]
    assert {"name", "state", "detail", "fix"} == set(shown[0])
    assert [check["name"] for check in shown] == [check.name for check in check_all()]
    assert SimpleNamespace(**shown[0]).name == "device"


def test_the_table_has_a_line_for_each_check_and_each_fix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["doctor", "--plugins", str(tmp_path / "no.so")])
    assert result.exit_code == 1
    lines = [line.split(maxsplit=2) for line in result.stdout.splitlines()]
    assert ["ok", "numpy", np.__version__] in [[*line[:2], line[-1].strip()] for line in lines if line]
    place = next(place for place, line in enumerate(lines) if line[:1] == [BROKEN])
    assert lines[place][1] == str(tmp_path / "no.so") and lines[place + 1][0] == "fix:"
