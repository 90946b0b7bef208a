"""Whether the CPU multiplies bytes without losing any, and what is said where it does not."""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
import pytest
from tiny_onnx import write_tiny_model

from edgedet.runtime.backends import onnxruntime
from edgedet.runtime.cpu import overflows


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu sse2 avx2 fma\nbugs\t\t: spectre_v1\n", True),
        ("flags\t\t: fpu avx2 avx512f avx512bw\n", True),
        ("flags\t\t: fpu avx2 avx512f avx512_vnni\n", False),
        ("flags\t\t: fpu avx2 avx_vnni\n", False),
        ("Features\t: fp asimd asimddp\n", False),
        ("flags", False),
        ("", False),
        ("\xff" * 100, False),
    ],
)
def test_by_what_linux_says_of_the_cpu(tmp_path: Path, text: str, expected: bool) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert overflows(tmp_path / "cpuinfo") == expected


def test_where_nothing_is_said(tmp_path: Path) -> None:
    assert not overflows(tmp_path / "none")
    assert not overflows(tmp_path)


@pytest.mark.parametrize(
    ("target", "overflowing", "warned"),
    [("ort-cpu", True, True), ("ort-cpu", False, False), ("ort-cpu-avx2", True, False), (None, True, False)],
)
def test_a_file_that_would_lose_accuracy_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str | None, overflowing: bool, warned: bool
) -> None:
    monkeypatch.setattr(onnxruntime, "overflows", lambda: overflowing)
    path = write_tiny_model(tmp_path / "model.onnx")
    if target is not None:
        model = onnx.load(path)
        model.metadata_props.add(key="target", value=target)
        onnx.save(model, path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        onnxruntime.load(path)
    assert [str(one.message) for one in caught if "--target ort-cpu-avx2" in str(one.message)] == [
        str(one.message) for one in caught
    ]
    assert bool(caught) == warned
