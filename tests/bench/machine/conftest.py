"""Machines made of the files that they say of themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Grow = Callable[[Mapping[str, str]], Path]


@pytest.fixture
def grow(tmp_path: Path) -> Grow:
    """Writes files into a root, again and again into the same, and gives it back."""

    def write(files: Mapping[str, str]) -> Path:
        for name, content in files.items():
            path = tmp_path / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            # A meter may read it at the same time, and must not see half.
            new = path.with_name("new")
            new.write_text(content)
            new.replace(path)
        return tmp_path / "root"

    return write
