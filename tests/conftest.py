"""Fixtures shared by all tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in every run, no time limit on one: a failure is the fault of the code, not of a busy machine.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

REPOSITORY = Path(__file__).resolve().parent.parent
REFERENCE = REPOSITORY.parent / "shared"


@pytest.fixture(autouse=True)
def _one_torch_thread() -> None:
    """Small tensors on many threads are slower, and two test processes would fight over the cores."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def bccd() -> Path:
    """The BCCD blood cell dataset, Pascal VOC layout, 364 images."""
    return _reference(REFERENCE / "data" / "bccd" / "BCCD")


@pytest.fixture(scope="session")
def oracles() -> Path:
    """Results of other implementations on fixed inputs."""
    return _reference(REFERENCE / "oracles")


def _reference(path: Path) -> Path:
    if not path.is_dir():
        pytest.skip(f"the reference data {path.name} is not beside the repository")
    return path
