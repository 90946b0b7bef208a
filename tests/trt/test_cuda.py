"""Where CUDA's runtime library is looked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import polygraphy.cuda
import pytest

from edgedet.errors import EdgedetError
from edgedet.trt import cuda


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    cuda._wrapper.cache_clear()
    yield
    cuda._wrapper.cache_clear()


def test_a_library_of_pips_packages_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "nvidia" / "cu13" / "lib"
    folder.mkdir(parents=True)
    (folder / "libcudart.so.13").touch()
    (tmp_path / "nvidia" / "cu12" / "lib").mkdir(parents=True)  # another package's, without the runtime
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("LD_LIBRARY_PATH", "/somewhere")
    looked: list[str] = []

    def wrapper() -> str:
        looked.append(os.environ["LD_LIBRARY_PATH"])
        if len(looked) == 1:
            raise OSError("libcudart.so: cannot open shared object file")
        return "found"

    monkeypatch.setattr(polygraphy.cuda, "wrapper", wrapper)
    assert cuda._wrapper() == "found"
    assert looked[0] == "/somewhere"
    assert looked[1].startswith(f"{folder}:") and looked[1].endswith(":/somewhere")
    assert os.environ["LD_LIBRARY_PATH"] == "/somewhere"


def test_none_at_all_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrapper() -> None:
        raise OSError("libcudart.so: cannot open shared object file")

    monkeypatch.setattr(polygraphy.cuda, "wrapper", wrapper)
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    with pytest.raises(EdgedetError, match=r"no CUDA runtime library \(libcudart.so: cannot open"):
        cuda.gpu()
    assert "LD_LIBRARY_PATH" not in os.environ
