"""Processes in which a version of TensorRT's Python module, its double and CUDA on the host stand ready."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
MODULES = REPOSITORY / "build" / "tensorrt-python"
"""Where `make tensorrt-python` puts NVIDIA's modules, a folder each."""

VERSIONS = ("8.6.1", "10.3.0", "10.16.1.11", "11.4.0.106")
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser", "nvparsers")

COMPILER = shutil.which("cc") or shutil.which("gcc")


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


class TensorRT:
    """One version, in processes of its own.

    Attributes:
        version: of the module.
        record: where the double writes what it is asked.
    """

    def __init__(self, version: str, libraries: Path, record: Path) -> None:
        self.version, self.record = version, record
        self._environment = os.environ | {
            "LD_LIBRARY_PATH": str(libraries),
            "DOUBLE_RECORD": str(record),
            "OMP_NUM_THREADS": "1",
        }
        self._server: subprocess.Popen[str] | None = None

    def run(self, *arguments: object, cwd: Path, **settings: str) -> Done:
        """`edgedet ARGUMENT...` with the double; `settings` are variables of its environment.

        One process runs one command after the other: to start takes longer than most of them.
        """
        if self._server is None or self._server.poll() is not None:
            self._server = subprocess.Popen(
                self._command(), env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._server.stdin is not None and self._server.stdout is not None
        words = [str(word) for word in arguments]
        print(
            json.dumps({"arguments": words, "cwd": str(cwd), "settings": settings}),
            file=self._server.stdin,
            flush=True,
        )
        reply = self._server.stdout.readline()
        assert reply, f"the process ended in edgedet {' '.join(words)}"
        return Done(**json.loads(reply))

    def run_script(self, script: Path, *arguments: object, cwd: Path, **settings: str) -> Done:
        """A script with the double, in a process of its own."""
        return self._process([*self._command(), str(script), *map(str, arguments)], cwd, settings)

    def run_suite(self, suite: Path, models: Path, *options: str, cwd: Path) -> Done:
        """Tests that are made for TensorRT, with the double."""
        folders = {"PYTHONPATH": str(HERE / "in_its_place"), "TENSORRT_MODULE": str(MODULES / self.version)}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rA", str(suite), *options]
        return self._process(command, cwd, {**folders, "EDGEDET_TEST_MODELS": str(models)})

    def python(self, code: str, *, cwd: Path) -> Any:
        """Python with `tensorrt` as NVIDIA made it, without the double. What it prints is read as JSON."""
        prelude = (
            f"import sys; sys.path.insert(0, {str(MODULES / self.version)!r}); "
            "import tensorrt_bindings as tensorrt; sys.modules['tensorrt'] = tensorrt\n"
        )
        done = self._process([sys.executable, "-c", prelude + code], cwd, {})
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def recorded(self, what: str) -> list[dict[str, Any]]:
        """What the double was asked, of one kind, in order."""
        lines = self.record.read_text().splitlines() if self.record.is_file() else []
        return [call for call in map(json.loads, lines) if call["what"] == what]

    def close(self) -> None:
        """Ends the process."""
        if self._server is not None and self._server.stdin is not None:
            self._server.stdin.close()
            self._server.wait(timeout=30)

    def _command(self) -> list[str]:
        return [sys.executable, str(HERE / "run.py"), str(MODULES / self.version)]

    def _process(self, command: list[str], cwd: Path, settings: dict[str, str]) -> Done:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=self._environment | settings,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)


@contextmanager
def tensorrt(version: str, folder: Path) -> Iterator[TensorRT]:
    """A version; its libraries are compiled into `folder`. Skips where the module or a compiler is not there."""
    if not (MODULES / version / "tensorrt_bindings").is_dir():
        pytest.skip(f"TensorRT's Python module {version} is not in {MODULES}: make tensorrt-python")
    if COMPILER is None:
        pytest.skip("there is no C compiler")
    libraries = folder / "libraries"
    libraries.mkdir(parents=True)
    major, minor, patch = (int(number) for number in version.split(".")[:3])
    number = major * 10000 + minor * 100 + patch if major >= 10 else major * 1000 + minor * 100 + patch
    for name in LIBRARIES:
        soname = f"lib{name}.so.{major}"
        _compile(HERE / "nvinfer.c", libraries / soname, f"-Wl,-soname,{soname}", f"-DINFER_LIB_VERSION={number}")
    _compile(HERE / "cudart.c", libraries / "libcudart.so")
    found = TensorRT(version, libraries, folder / "record.jsonl")
    try:
        yield found
    finally:
        found.close()


def _compile(source: Path, library: Path, *options: str) -> None:
    command = [str(COMPILER), "-shared", "-fPIC", "-O1", *options, "-o", str(library), str(source)]
    subprocess.run(command, check=True, capture_output=True)
