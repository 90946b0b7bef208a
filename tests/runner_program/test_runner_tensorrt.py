"""The runner's TensorRT backend, as `make tensorrt` compiled it for each version's headers. TensorRT runs nowhere.

What is tried is what comes before TensorRT: manifests, and what is said where its library is not.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from runner_programs import BUILD

BUILDS = sorted((BUILD / "tensorrt").glob("*/export/runner/edgedet-run"))
REASON = "not built: make tensorrt TENSORRT_HEADERS=... on a machine with CUDA's headers"


@pytest.fixture(
    params=BUILDS or [pytest.param(None, marks=pytest.mark.skip(reason=REASON))],
    ids=lambda path: path.parents[2].name if path else "",
)
def program(request: pytest.FixtureRequest) -> Path:
    path = Path(request.param)
    if "tensorrt" not in run(path, "--version").stdout:
        pytest.skip("built without TensorRT: there were no headers of CUDA")
    return path


def run(program: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=False, timeout=60)


MANIFEST = {
    "version": 1,
    "engine": {"name": "model.engine", "sha256": "0" * 64},
    "onnx": {"name": "model.onnx", "sha256": "0" * 64},
    "options": {},
    "built_on": {"tensorrt": "10.3.0", "compute_capability": "8.7", "gpu": "Orin", "multiprocessors": 8},
    "spec": {},
}


def test_it_starts_without_tensorrt(program: Path) -> None:
    told = run(program, "--version")
    assert told.returncode == 0
    assert re.search(r"backends: (onnxruntime, )?tensorrt (8|9|1\d)\.\d+\.\d+;", told.stdout)


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (None, "its manifest model.engine.json is not beside it"),
        ("{", "is not valid JSON"),
        ("[]", "not the manifest of an engine"),
        (json.dumps({**MANIFEST, "built_on": 3}), "not the manifest of an engine"),
        (json.dumps({**MANIFEST, "engine": {"name": "x"}}), "it has no sha256"),
        (json.dumps({**MANIFEST, "version": 2}), "a manifest of a later edgedet"),
        (json.dumps(MANIFEST), "there is no libnvinfer.so."),
    ],
)
def test_engines_that_cannot_be_loaded(program: Path, tmp_path: Path, manifest: str | None, said: str) -> None:
    engine = tmp_path / "model.engine"
    engine.write_bytes(b"plan")
    if manifest is not None:
        (tmp_path / "model.engine.json").write_text(manifest)
    done = run(program, engine, "image.png")
    if "libnvinfer" in said and "libnvinfer" not in done.stderr:
        pytest.skip("TensorRT is installed here")
    assert done.returncode == 2
    assert said in done.stderr
    assert "\n  fix: " in done.stderr
