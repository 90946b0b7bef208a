"""TensorRT's module and library in the states that doctor knows, with small libraries in the place of libnvinfer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgedet.doctor.check import BROKEN, MISSING, OK, WARNING, Check
from edgedet.doctor.tensorrt import check_tensorrt, how_to_get, library_version, loaded_libraries
from edgedet.errors import EdgedetError
from edgedet.trt import cuda
from edgedet.trt.machine import Machine
from edgedet.trt.versions import Version

PC, PC_WITH_DRIVER = Machine(), Machine(driver="580.65.06")
ORIN = Machine(board="NVIDIA Jetson Orin Nano Developer Kit Super", l4t="36.4.3", driver="540.4.0")

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


def library(folder: Path, number: int, name: str = "libnvinfer.so.10.3.0") -> Path:
    """A library that says it is of a version."""
    folder.mkdir(parents=True, exist_ok=True)
    source = f"int getInferLibVersion(void) {{ return {number}; }}"
    command = ["cc", "-shared", "-fPIC", "-xc", "-", "-o", str(folder / name)]
    subprocess.run(command, input=source, text=True, check=True)
    return folder / name


def maps(folder: Path, *libraries: Path) -> Path:
    """What a process says that it has loaded; each file is mapped in several parts."""
    lines = [
        f"7f0000000000-7f0000001000 {rights} 00000000 fe:00 1234                       {path}"
        for path in ("/usr/lib/libnvinfer_plugin.so.10", "/usr/lib/libc.so.6", *libraries)
        for rights in ("r--p", "r-xp")
    ]
    path = folder / "maps"
    path.write_text("\n".join([*lines, "7ffd0-7ffe0 rw-p 00000000 00:00 0  [stack]", ""]))
    return path


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "gpu", lambda: cuda.Gpu("Orin", "8.7", 8, 8 << 30))


@pytest.fixture
def no_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT's module is not imported yet, and what a test imports in its place is forgotten after it."""
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.delitem(sys.modules, "tensorrt")


def checks(
    monkeypatch: pytest.MonkeyPatch, folder: Path, version: str, *libraries: Path, machine: Machine = PC_WITH_DRIVER
) -> list[Check]:
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__=version))
    return list(check_tensorrt(machine, maps(folder, *libraries)))


@pytest.mark.usefixtures("no_module")
class TestModule:
    def test_one_that_is_not_there_is_missing_in_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "path", [])
        (found,) = check_tensorrt(PC)
        assert found == Check("TensorRT", MISSING, "for engines; needs an NVIDIA GPU and its driver")

    def test_one_that_cannot_be_imported_is_broken(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: cannot open shared object file')")
        monkeypatch.syspath_prepend(str(tmp_path))
        (found,) = check_tensorrt(PC_WITH_DRIVER)
        assert found.state == BROKEN and "libnvinfer.so.10" in found.detail
        assert found.fix == "install it again; pip install tensorrt-cu13"

    @pytest.mark.parametrize("content", [None, "__version__ = 'abc'"])
    def test_something_else_of_that_name_is_broken(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
    ) -> None:
        (tmp_path / "tensorrt").mkdir()
        if content is not None:
            (tmp_path / "tensorrt" / "__init__.py").write_text(content)
        monkeypatch.syspath_prepend(str(tmp_path))
        (found,) = check_tensorrt(PC_WITH_DRIVER)
        assert found.state == BROKEN


@needs_compiler
class TestLibrary:
    def test_a_library_of_the_modules_version(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        path = library(tmp_path, 100300)
        assert checks(monkeypatch, tmp_path, "10.3.0.30", path) == [Check("TensorRT", OK, f"10.3.0.30, {path}")]

    def test_a_library_of_another_version_is_broken(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        path = library(tmp_path, 100700)
        (found,) = checks(monkeypatch, tmp_path, "10.3.0.30", path)
        assert found.state == BROKEN and found.fix is not None
        assert found.detail == f"its module is of 10.3.0.30, and loaded {path} of 10.7.0"

    def test_a_second_library_is_seen_beside_the_right_one(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        right, other = library(tmp_path / "right", 100300), library(tmp_path / "other", 8602, "libnvinfer.so.8")
        (found,) = checks(monkeypatch, tmp_path, "10.3.0.30", right, other)
        assert found.state == BROKEN and f"{other} of 8.6.2" in found.detail

    def test_a_library_that_says_no_version_is_broken(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        path = tmp_path / "libnvinfer.so.10"
        path.write_text("none")
        (found,) = checks(monkeypatch, tmp_path, "10.3.0.30", path)
        assert found.state == BROKEN and "of an unknown version" in found.detail

    @pytest.mark.parametrize(
        ("number", "version"),
        [(8201, Version(8, 2, 1)), (8601, Version(8, 6, 1)), (100300, Version(10, 3)), (101602, Version(10, 16, 2))],
    )
    def test_the_number_of_a_version(self, tmp_path: Path, number: int, version: Version) -> None:
        assert library_version(library(tmp_path, number)) == version

    def test_all_of_it_in_a_process(self, tmp_path: Path) -> None:
        """The module loads the library, as TensorRT's does; the process itself says so."""
        path = library(tmp_path / "lib", 100700)
        (tmp_path / "tensorrt.py").write_text(f"import ctypes\nctypes.CDLL({str(path)!r})\n__version__ = '10.3.0'\n")
        done = subprocess.run(
            [sys.executable, "-m", "edgedet", "doctor", "--json"],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        (found,) = [check for check in json.loads(done.stdout)["checks"] if check["name"] == "TensorRT"]
        assert found["state"] == BROKEN and f"{path} of 10.7.0" in found["detail"]
        assert done.returncode == 1 and "broken: TensorRT" in done.stderr


class TestLoadedLibraries:
    def test_each_file_is_named_once_and_no_other_library(self, tmp_path: Path) -> None:
        names = [Path("/usr/lib/libnvinfer.so.10.3.0"), Path("/opt/with space/libnvinfer.so.8")]
        assert loaded_libraries(maps(tmp_path, *names)) == names

    @pytest.mark.parametrize("content", [b"", b"\xff\0 /\xff/libnvinfer.so.x\n", b"libnvinfer.so.10\n"])
    def test_lists_that_name_none(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "maps").write_bytes(content)
        assert loaded_libraries(tmp_path / "maps") == []

    def test_a_system_without_such_a_list(self, tmp_path: Path) -> None:
        assert loaded_libraries(tmp_path / "maps") == []


class TestKnownFaults:
    def test_one_that_stops_all_is_broken(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        _, fault = checks(monkeypatch, tmp_path, "10.8.0", machine=ORIN)
        assert (fault.name, fault.state) == ("known fault server-build-on-orin", BROKEN)
        assert "SM 87 is not supported (https://" in fault.detail and "nvidia-jetpack" in (fault.fix or "")

    def test_one_that_stops_some_is_a_warning(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        _, fault = checks(monkeypatch, tmp_path, "10.3.0.30", machine=ORIN)
        assert (fault.name, fault.state) == ("known fault int8-topk-10.3", WARNING)

    @needs_compiler
    def test_a_library_by_pip_is_known_by_its_folder(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        by_pip = library(tmp_path / "site-packages" / "tensorrt_libs", 100700, "libnvinfer.so.10")
        by_jetpack = library(tmp_path / "aarch64-linux-gnu", 100700, "libnvinfer.so.10.7.0")
        assert len(checks(monkeypatch, tmp_path, "10.7.0", by_pip, machine=ORIN)) == 2
        assert len(checks(monkeypatch, tmp_path, "10.7.0", by_jetpack, machine=ORIN)) == 1

    def test_what_needs_the_gpu_is_not_guessed_without_it(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        def silent() -> cuda.Gpu:
            raise EdgedetError("no GPU")

        old = cuda.Gpu("Tesla V100", "7.0", 80, 16 << 30)
        monkeypatch.setattr(cuda, "gpu", lambda: old)
        assert len(checks(monkeypatch, tmp_path, "10.13.0")) == 2
        monkeypatch.setattr(cuda, "gpu", silent)
        assert len(checks(monkeypatch, tmp_path, "10.13.0")) == 1


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (PC, "needs an NVIDIA GPU"),
        (PC_WITH_DRIVER, "pip install tensorrt-cu13"),
        (Machine(driver="550.54.14"), "pip install tensorrt-cu12"),
        (ORIN, "with Python 3.10"),
        (Machine(l4t="38.2.0"), "with Python 3.12"),
        (Machine(l4t="40.1.0"), "nvidia-jetpack"),
        (Machine(l4t="35.4.1"), "Python 3.8 alone"),
        (Machine(l4t="32.7.1"), "--emit-trtexec"),
    ],
)
def test_how_to_get_it_depends_on_the_machine(machine: Machine, words: str) -> None:
    assert words in how_to_get(machine)
