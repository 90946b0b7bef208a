"""Models and machines for the tests of the C++ runner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from runner_models import RUNNER_MODELS
from runner_programs import AARCH64, NATIVE, Machine


@pytest.fixture(params=[NATIVE, AARCH64], ids=lambda machine: machine.name)
def machine(request: pytest.FixtureRequest) -> Machine:
    return request.param  # type: ignore[no-any-return]


class ModelFiles(Mapping[str, Path]):
    """The files of `RUNNER_MODELS`, each made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __getitem__(self, name: str) -> Path:
        path = self._folder / f"{name}.onnx"
        if not path.exists():
            path.write_bytes(RUNNER_MODELS[name]().SerializeToString())
        return path

    def __iter__(self) -> Iterator[str]:
        return iter(RUNNER_MODELS)

    def __len__(self) -> int:
        return len(RUNNER_MODELS)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    return ModelFiles(tmp_path_factory.mktemp("models"))
