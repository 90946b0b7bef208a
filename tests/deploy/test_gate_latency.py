"""Files of a gated checkpoint, timed in turn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gated_detectors import gated_checkpoint_in
from small_float import checkpoint_in, shapes_in
from typer.testing import CliRunner

from edgedet.cli import pg
from edgedet.cli.app import app
from edgedet.deploy import gate_latency
from edgedet.deploy.gate_latency import time_gates
from edgedet.errors import EdgedetError

OPERATORS = Path(__file__).resolve().parents[2] / "build" / "native" / "libedgedet_onnxruntime.so"


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_latency, "ROUNDS", 3)


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gated_checkpoint_in(tmp_path_factory.mktemp("gated"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shapes_in(tmp_path_factory.mktemp("shapes"))


def test_all_files_are_timed_in_turn(gated: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_library = ["--operators", str(OPERATORS)] if OPERATORS.exists() else []
    arguments = ["pg", "report", str(gated), str(data), "--limit", "1", "--latency", "--json", *with_library]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    read = json.loads(result.stdout)
    found = read["latency"]
    assert set(found["files"]) == {"full", "gated_body", "high", "float"} | ({"gated"} if with_library else set())
    assert found["files"]["full"]["ratio"] == 1.0
    assert all(0 < one["median_ms"] <= one["p95_ms"] for one in found["files"].values())
    assert found["threads"] == 1 and found["runs"] == 15 and found["runtime"].startswith("onnxruntime")
    pg._render_latency(found)
    assert "gated, by stock ONNX Runtime" in capsys.readouterr().out


def test_a_checkpoint_without_gates(data: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgedetError, match="gated"):
        time_gates(checkpoint_in(tmp_path), data)
