"""The rules by TensorRT's version, and that they are nowhere else."""

from __future__ import annotations

import importlib
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import REPOSITORY

from edgedet.errors import EdgedetError
from edgedet.trt import versions
from edgedet.trt.versions import Version

APART = {"edgedet/trt/versions.py", "edgedet/trt/known_bad.py"}
"""The rules, and the table of faults."""


def test_no_other_file_compares_versions() -> None:
    comparison = re.compile(r"Version\(\d|version\.(?:major|minor)|__version__\s*[<>=]|(?<!ir_)version\s*(?:<|>|==)")
    found = {
        str(path.relative_to(REPOSITORY))
        for folder in ("trt", "engine", "deploy", "runtime", "cli")
        for path in (REPOSITORY / "edgedet" / folder).rglob("*.py")
        if comparison.search(path.read_text())
    }
    assert found - APART == {"edgedet/engine/recipe.py"}, "that one names files by the version"
    assert "version.major}.{version.minor}" in (REPOSITORY / "edgedet/engine/recipe.py").read_text()


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("10.3.0.30", Version(10, 3, 0)),
        ("8.2", Version(8, 2, 0)),
        ("11.4.0.106", Version(11, 4, 0)),
        ("8.6.1.post1", Version(8, 6, 1)),
    ],
)
def test_versions_are_read(text: str, version: Version) -> None:
    assert Version.parse(text) == version


@pytest.mark.parametrize("text", ["", "10", "ten.three", "10.3.0.30.1", "10.3\n", "١٠.٣", "10.3 0", "99999.1"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(EdgedetError, match="is no version of TensorRT"):
        Version.parse(text)


def test_versions_are_ordered_by_number() -> None:
    assert Version(8, 6, 1) < Version(10) < Version(10, 3) < Version(10, 12) < Version(11)


@pytest.mark.parametrize(
    ("version", "precision", "asked", "target"),
    [
        ("8.6.1", "int8", False, "trt8"),
        ("8.6.1", "fp16", False, "fp32"),
        ("8.6.1", "fp32", False, "fp32"),
        ("10.3.0", "int8", False, "trt10"),
        ("10.12.0", "int8", True, "trt11"),
        ("10.12.0", "fp16", True, "fp16"),
        ("10.16.1", "fp16", False, "fp32"),
        ("11.0.0", "int8", False, "trt11"),
        ("11.0.0", "fp16", False, "fp16"),
        ("11.0.0", "fp32", False, "fp32"),
    ],
)
def test_the_lowering_by_version_and_precision(version: str, precision: str, asked: bool, target: str) -> None:
    found = Version.parse(version)
    strongly_typed = versions.is_strongly_typed(found, asked=asked)
    assert versions.lowering(found, precision, strongly_typed=strongly_typed) == target


@pytest.mark.parametrize(("version", "has"), [("8.6.1", True), ("10.7.0", True), ("10.8.0", False), ("11.4.0", False)])
def test_which_versions_have_the_accelerator(version: str, has: bool) -> None:
    if has:
        versions.require_dla(Version.parse(version))
    else:
        with pytest.raises(EdgedetError, match="has no DLA"):
            versions.require_dla(Version.parse(version))


def test_the_accelerator_is_back_in_11_4_1() -> None:
    versions.require_dla(Version(11, 4, 1))


@pytest.fixture
def no_module() -> Iterator[None]:
    """None is imported before the test, and none stays behind it."""
    before = sys.modules.pop("tensorrt", None)
    yield
    sys.modules.pop("tensorrt", None)
    if before is not None:
        sys.modules["tensorrt"] = before


@pytest.mark.usefixtures("no_module")
def test_a_folder_that_is_called_tensorrt_is_not_taken_for_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tensorrt").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(EdgedetError, match="is not TensorRT"):
        versions.module()


@pytest.mark.usefixtures("no_module")
def test_a_module_that_is_broken_or_too_old_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for text, says in (
        ("import no_such_package", "cannot be loaded"),
        ("raise ImportError('libnvinfer.so.10: cannot open shared object file')", "libnvinfer.so.10"),
        ("__version__ = '7.1.3'", "too old"),
    ):
        sys.modules.pop("tensorrt", None)
        (tmp_path / "tensorrt.py").write_text(text)
        importlib.invalidate_caches()
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
        with pytest.raises(EdgedetError, match=says):
            versions.module()


TRT = SimpleNamespace(
    float32="float32",
    float16="float16",
    LayerType=SimpleNamespace(CONSTANT="constant", CONCATENATION="concatenation", SHAPE="shape"),
)


class Layer:
    """As much of `tensorrt.ILayer` as is touched."""

    num_outputs = 1
    precision: Any = None

    def __init__(self, name: str, kind: str = "elementwise", dtype: str = "float32") -> None:
        self.name, self.type, self._dtype = name, kind, dtype

    def get_output(self, index: int) -> Any:
        return SimpleNamespace(dtype=self._dtype)

    def set_output_type(self, index: int, dtype: str) -> None:
        self.output_type = (index, dtype)


def test_layers_are_held_by_their_nodes_names() -> None:
    layers = [
        Layer("decode/Mul"),
        Layer("decode/Mul_1"),
        Layer("decode/Mul_7"),
        Layer("decode/Exp", dtype="int32"),
        Layer("decode/Concat", "concatenation"),
        Layer("backbone/Mul"),
        Layer("decode/Mul_extra"),
        Layer("(Unnamed Layer* 3) [Shuffle]"),
    ]
    network = SimpleNamespace(num_layers=len(layers), get_layer=layers.__getitem__)
    held = versions.hold_in_float32(TRT, network, {"decode/Mul", "decode/Mul_1", "decode/Exp", "decode/Concat"})
    assert held == {"decode/Mul", "decode/Mul_1"}
    names = ["decode/Mul", "decode/Mul_1", "decode/Mul_7"]
    assert [layer.name for layer in layers if layer.precision == "float32"] == names
    assert [layer.name for layer in layers if getattr(layer, "output_type", None) == (0, "float32")] == names


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [({"device_memory_size_v2": 5, "device_memory_size": 3}, 5), ({"device_memory_size": 3}, 3), ({}, None)],
)
def test_the_newer_size_of_device_memory_is_taken(sizes: dict[str, int], expected: int | None) -> None:
    assert versions.device_memory_bytes(SimpleNamespace(**sizes)) == expected
