"""Where the library of operators is looked for, and where not."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgedet.errors import EdgedetError
from edgedet.trt import operators
from edgedet.trt.operators import LIBRARY, find_operators


@pytest.fixture(autouse=True)
def _nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "INSTALLED", ())
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)


def test_the_one_given_is_taken(tmp_path: Path) -> None:
    (tmp_path / "mine.so").touch()
    assert find_operators(tmp_path / "mine.so") == tmp_path / "mine.so"
    with pytest.raises(EdgedetError, match="no such library"):
        find_operators(tmp_path / "missing.so")


def test_it_is_looked_for_where_the_loader_looks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for folder in ("first", "second", "installed"):
        (tmp_path / folder).mkdir()
    (tmp_path / "installed" / LIBRARY).touch()
    monkeypatch.setattr(operators, "INSTALLED", (tmp_path / "installed",))
    assert find_operators(None) == tmp_path / "installed" / LIBRARY
    (tmp_path / "second" / LIBRARY).touch()
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{tmp_path}/first::{tmp_path}/second")
    assert find_operators(None) == tmp_path / "second" / LIBRARY


def test_one_that_lies_here_is_not_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / LIBRARY).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LD_LIBRARY_PATH", ":")
    with pytest.raises(EdgedetError, match="is not installed"):
        find_operators(None)
