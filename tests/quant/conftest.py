"""What is quantized here, and on what."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_float import checkpoint_in, shapes_in


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images to calibrate on and four to evaluate on."""
    return shapes_in(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a float detector with random weights."""
    return checkpoint_in(tmp_path_factory.mktemp("float"))
