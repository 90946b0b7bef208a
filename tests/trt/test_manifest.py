"""What a manifest says of differences, and that nothing in its file is more than an error."""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgedet.errors import EdgedetError
from edgedet.spec import Preprocess, Spec
from edgedet.trt.manifest import (
    BuildOptions,
    File,
    Manifest,
    Platform,
    Profile,
    differences,
    manifest_path,
    read_manifest,
)

PLAN = b"a plan"
HERE = Platform(
    tensorrt="10.3.0", compute_capability="8.7", gpu="Orin", multiprocessors=8, cuda_runtime="12.6", cuda_driver="12.6"
)
SPEC = Spec(model="m", class_names=("a",), strides=(8,), preprocess=Preprocess(height=64, width=64))


def manifest(**changes: Any) -> Manifest:
    values: dict[str, Any] = {
        "edgedet": "0.1",
        "engine": File(name="m.engine", sha256=hashlib.sha256(PLAN).hexdigest()),
        "onnx": File(name="m.onnx", sha256="0" * 64),
        "lowered_sha256": "1" * 64,
        "lowering": "trt10",
        "options": BuildOptions(precision="int8"),
        "strongly_typed": False,
        "built_on": HERE,
        "tensors": (),
        "spec": SPEC,
        "build_seconds": 1.0,
        "peak_memory_bytes": 1,
    }
    return Manifest(**values | changes)


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / "m.engine"
    path.write_bytes(PLAN)
    return path


def found(*, plan: bytes = PLAN, here: Platform = HERE, **changes: Any) -> list[str]:
    return list(differences(manifest(**changes), hashlib.sha256(plan).hexdigest(), here, None))


def test_the_same_machine_has_no_difference() -> None:
    assert found() == []


def test_what_does_not_bind_a_plan_is_no_difference() -> None:
    other = {"cuda_driver": "13.0", "driver": "580.1", "power_mode": "15W (0)", "l4t": "36.4.4", "board": "another"}
    assert found(here=HERE.model_copy(update=other)) == []


def test_all_differences_are_told_at_once() -> None:
    other = HERE.model_copy(update={"tensorrt": "10.16.1", "compute_capability": "11.0"})
    told = found(plan=b"another", here=other)
    assert len(told) == 3


def test_operators_are_held_to_their_hash() -> None:
    needing = manifest(operators=File(name="lib.so", sha256="5" * 64))
    plan = hashlib.sha256(PLAN).hexdigest()
    assert list(differences(needing, plan, HERE, "5" * 64)) == []
    assert "not the one" in next(differences(needing, plan, HERE, "6" * 64))


@pytest.mark.parametrize(
    ("level", "capability", "gpu", "loads"),
    [
        (None, "8.7", "Orin", True),
        (None, "8.7", "another", False),
        (None, "8.9", "Orin", False),
        ("same-compute-capability", "8.7", "another", True),
        ("same-compute-capability", "8.9", "Orin", False),
        ("ampere-plus", "12.0", "another", True),
        ("ampere-plus", "8.0", "another", True),
        ("ampere-plus", "7.5", "Orin", False),
    ],
)
def test_which_gpus_an_engine_is_for(level: Any, capability: str, gpu: str, loads: bool) -> None:
    here = HERE.model_copy(update={"compute_capability": capability, "gpu": gpu})
    assert (found(here=here, options=BuildOptions(hardware_compatibility=level)) == []) == loads


def test_the_command_that_builds_it_anew() -> None:
    options = BuildOptions(
        precision="int8",
        keep_float=("backbone.features.7",),
        profile=Profile(smallest=1, best=2, largest=4),
        workspace_mebibytes=64,
        version_compatible=True,
        serialize_operators=True,
    )
    command = manifest(
        options=options, onnx=File(name="my model.onnx", sha256="0" * 64), operators=File(name="l.so", sha256="0" * 64)
    ).rebuild_command()
    assert shlex.split(command) == (
        ["edgedet", "build", "my model.onnx", "--precision", "int8", "--batches", "1:2:4", "--workspace", "64"]
        + ["--keep-float", "backbone.features.7", "--version-compatible", "--serialize-operators"]
        + ["--operators", "l.so", "--out", "m.engine"]
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(st.sampled_from(sorted(Manifest.model_fields)), JSON, min_size=1, max_size=3))
def test_whatever_its_fields_hold_is_a_manifest_or_an_error(engine: Path, changes: dict[str, Any]) -> None:
    values = json.loads(manifest().model_dump_json()) | changes
    manifest_path(engine).write_text(json.dumps(values))
    try:
        read = read_manifest(engine)
    except EdgedetError as error:
        assert "m.engine.json" in str(error)
    else:
        assert isinstance(read, Manifest)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"", b"[" * 100_000, b"null", b'{"version": 1}'])
def test_files_that_are_none_are_errors(engine: Path, content: bytes) -> None:
    manifest_path(engine).write_bytes(content)
    with pytest.raises(EdgedetError):
        read_manifest(engine)
