"""The plugins for TensorRT, against the headers of each version that `make tensorrt` was given. TensorRT runs nowhere.

A program in C++ drives each library through TensorRT's own interfaces, with the kernels on the host: creators, fields,
shapes, every combination of types and layouts, copies, what an engine stores, detections. What nvcc built is opened.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgedet.ops.library import require_for_this_machine

BUILDS = sorted((Path(__file__).resolve().parents[2] / "build" / "tensorrt").glob("*/tensorrt_plugins_test"))
REASON = "the plugins are not built: make tensorrt TENSORRT_HEADERS=... (github.com/NVIDIA/TensorRT, include/)"

OPEN = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
library.edgedet_tensorrt_plugins.restype = ctypes.c_char_p
creators = getattr(library, "getCreators", None) or library.getPluginCreators
count = ctypes.c_int32()
creators.restype = ctypes.c_void_p
assert creators(ctypes.byref(count))
print(count.value, library.edgedet_tensorrt_plugins().decode())
"""


@pytest.fixture(
    params=BUILDS or [pytest.param(None, marks=pytest.mark.skip(reason=REASON))],
    ids=lambda path: path.parent.name if path else "",
)
def program(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


@pytest.mark.parametrize("name", ["tensorrt_plugins_test", "tensorrt_gated_conv_test"])
def test_as_tensorrt_would_drive_it(program: Path, name: str) -> None:
    library = program.parent / "libedgedet_tensorrt_on_host.so"
    done = subprocess.run([program.with_name(name), library], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 failed" in done.stdout


def test_what_nvcc_built_opens_without_tensorrt(program: Path) -> None:
    library = program.parent / "libedgedet_tensorrt.so"
    if not library.exists():
        pytest.skip("there was no nvcc")
    require_for_this_machine(library)
    undefined = subprocess.run(["nm", "-D", "--undefined-only", library], capture_output=True, text=True, check=True)
    strong = {line.split()[1] for line in undefined.stdout.splitlines() if line.split()[0] == "U"}
    assert not [name for name in strong if "nvinfer" in name or name.startswith(("getPlugin", "getLogger", "create"))]
    opened = subprocess.run([sys.executable, "-c", OPEN, library], capture_output=True, text=True, check=True)
    assert opened.stdout.startswith("3 EdgeDetDIoUNMS, EdgeDetGatedConv, EdgeDetMish; built for TensorRT ")
