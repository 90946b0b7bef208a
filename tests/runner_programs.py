"""The C++ runner as it was built here, and cross-compiled for ARM, which is emulated."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
BUILD = REPOSITORY / "build"
RUNNER = Path("export") / "runner"
QEMU = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"]
AARCH64_LIBRARY = BUILD / "onnxruntime" / "aarch64" / "libonnxruntime.so.1"
HOST_LIBRARY = next(iter(sorted((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*"))), Path("none"))


@dataclass(frozen=True)
class Machine:
    """Where programs run, with ONNX Runtime's library for it."""

    name: str
    library: Path

    def command(self, name: str, *, needs_library: bool = True) -> list[str]:
        """The start of a command; the test is skipped where something is missing."""
        path = BUILD / self.name / RUNNER / name
        if not path.exists():
            pytest.skip(f"{path} is not built: make operators, or make aarch64")
        if needs_library and not self.library.exists():
            pytest.skip(f"there is no {self.library}")
        if self.name == "native":
            return [str(path)]
        if shutil.which(QEMU[0]) is None:
            pytest.skip(f"there is no {QEMU[0]}")
        return [*QEMU, str(path)]

    def run(self, *words: object, onnxruntime: Path | None = None) -> subprocess.CompletedProcess[str]:
        """edgedet-run with these arguments, on one thread."""
        library = ["--onnxruntime", str(onnxruntime or self.library), "--threads", "1"]
        command = [*self.command("edgedet-run"), *map(str, words), *library]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


NATIVE = Machine("native", HOST_LIBRARY)
AARCH64 = Machine("aarch64", AARCH64_LIBRARY)


def lines_of(done: subprocess.CompletedProcess[str]) -> Sequence[Any]:
    """What it printed, line by line, of a run that went well."""
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def decoder() -> str:
    """What reads images: `opencv 4.6.0`, `stb` or `none`."""
    told = subprocess.run([*NATIVE.command("edgedet-run"), "--version"], capture_output=True, text=True, check=True)
    return told.stdout.split("images: ")[1].rstrip(")\n")
