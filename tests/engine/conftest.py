"""Detectors and TensorRTs that the tests of engines share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorrt_double.environment import VERSIONS, TensorRT, tensorrt
from tensorrt_models import CLASSES, write_models

from edgedet.data.synth import synthesize


@pytest.fixture(scope="session", params=VERSIONS)
def trt(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TensorRT]:
    """Each version in turn."""
    with tensorrt(request.param, tmp_path_factory.mktemp("tensorrt")) as found:
        yield found


@pytest.fixture(scope="session")
def trt10(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TensorRT]:
    """JetPack 6's."""
    with tensorrt("10.3.0", tmp_path_factory.mktemp("tensorrt")) as found:
        yield found


@pytest.fixture(autouse=True)
def _fresh_records(request: pytest.FixtureRequest) -> None:
    for name in ("trt", "trt10"):
        if name in request.fixturenames:
            request.getfixturevalue(name).record.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `tensorrt_models.write_models`."""
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated dataset of the models' classes."""
    folder = tmp_path_factory.mktemp("data") / "shapes"
    synthesize(folder, images=30, size=96, classes=len(CLASSES))
    return folder


@pytest.fixture(scope="session")
def pictures(images: Path) -> Path:
    return images / "images" / "test"
