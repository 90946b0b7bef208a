"""Where the library of edgedet's operators for TensorRT is."""

from __future__ import annotations

import os
from pathlib import Path

from edgedet.errors import EdgedetError

LIBRARY = "libedgedet_tensorrt.so"
INSTALLED = (Path("/usr/local/lib"), Path("/usr/lib"))


def find_operators(given: Path | None) -> Path:
    """The library given, or else the one where libraries are installed: never one that lies beside a model.

    Raises:
        EdgedetError: there is none.
    """
    if given is not None:
        if not given.is_file():
            raise EdgedetError("no such library", where=given, fix="check the path, or build it: make cuda")
        return given
    named = [Path(folder) for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder]
    for folder in (*named, *INSTALLED):
        if (folder / LIBRARY).is_file():
            return folder / LIBRARY
    raise EdgedetError(
        f"the model needs edgedet's operators for TensorRT, and {LIBRARY} is not installed",
        fix=f"build it (make cuda TENSORRT_INCLUDE_DIR=...) and give it: --operators build/cuda/{LIBRARY}",
    )
