"""Sources of bundles: in a checkout and in a wheel, both complete."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import REPOSITORY
from deploy.conftest import Masters

from edgedet.deploy import sources
from edgedet.deploy.folder import check_bundle
from edgedet.errors import EdgedetError


def test_a_checkouts_own_are_taken() -> None:
    assert sources.source_folder() == REPOSITORY


def test_an_installation_without_them_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_PACKAGE", tmp_path / "edgedet")
    with pytest.raises(EdgedetError, match="no sources for bundles"):
        sources.source_folder()


@pytest.mark.slow
def test_a_wheel_makes_the_same_bundle(masters: Masters, tmp_path: Path) -> None:
    for needed in ("scikit_build_core", "nanobind", "pip"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed")
    command = [sys.executable, "-m", "pip", "wheel", REPOSITORY, "--no-deps", "--no-build-isolation", "-w", tmp_path]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("edgedet-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    assert not (tmp_path / "site/edgedet/_sources/plugins/tests").exists()
    arguments = ["deploy", masters.float, "--target", "x86-cpu", "--with", "triton-ensemble", "--out"]
    found = {}
    for name, path in (("checkout", REPOSITORY), ("wheel", tmp_path / "site")):
        environment = {**os.environ, "PYTHONPATH": str(path), "OMP_NUM_THREADS": "1"}
        program = (
            "import edgedet, sys; from edgedet.cli.app import main; print(edgedet.__file__, file=sys.stderr); main()"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments, tmp_path / name],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0 and str(path) in done.stderr, done.stderr
        found[name] = check_bundle(tmp_path / name).manifest
    assert found["checkout"] == found["wheel"]
    shutil.rmtree(tmp_path / "site")
