"""Where the files are that bundles are made of: C++ sources, targets, scripts."""

from __future__ import annotations

from pathlib import Path

from edgedet.errors import EdgedetError

_PACKAGE = Path(__file__).resolve().parents[1]


def source_folder() -> Path:
    """The folder with `CMakeLists.txt`, `plugins/` and `export/`: the checkout, or what was installed with the package.

    Raises:
        EdgedetError: neither is there.
    """
    for folder in (_PACKAGE.parent, _PACKAGE / "_sources"):
        if (folder / "CMakeLists.txt").is_file() and (folder / "export/targets").is_dir():
            return folder
    raise EdgedetError(
        "this installation has no sources for bundles", where=_PACKAGE, fix="install edgedet from a wheel or a checkout"
    )
