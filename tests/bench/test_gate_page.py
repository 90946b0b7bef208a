"""What docs/gate.md shows works: the workflow's steps, the test, and the figures of the rule."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from bench.two_models import write_model

from edgedet.bench.comparison.stored import BETWEEN_RUNS, BLOCKS
from edgedet.bench.comparison.verdict import FIRST_LOOK

pytest_plugins = ["pytester"]

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "gate.md").read_text()


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    return found


@pytest.fixture(scope="module")
def steps() -> dict[str, dict[str, str]]:
    """Those of the workflow that have a name."""
    (job,) = yaml.safe_load(block("yaml"))["jobs"].values()
    return {step["name"]: step for step in job["steps"] if "name" in step}


def test_base_and_head_are_checked_out_into_the_folders_that_are_exported(steps: dict[str, dict[str, str]]) -> None:
    (job,) = yaml.safe_load(block("yaml"))["jobs"].values()
    checkouts = [step["with"] for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
    assert [checkout["path"] for checkout in checkouts] == ["head", "base"]
    assert "pull_request.base.sha" in checkouts[1]["ref"] and "ref" not in checkouts[0]
    for side in ("base", "head"):
        assert f"edgedet export {side}/detector.pt --out {side}.onnx" in steps["Export both"]["run"]


@pytest.mark.parametrize(("ends_with", "code", "warns"), [(0, 0, False), (1, 1, False), (2, 2, False), (3, 0, True)])
def test_the_step_fails_where_the_gate_does_and_warns_where_it_is_undecided(
    steps: dict[str, dict[str, str]], tmp_path: Path, ends_with: int, code: int, warns: bool
) -> None:
    edgedet = tmp_path / "edgedet"
    edgedet.write_text(
        f'#!/bin/sh\necho "$@" > asked\nmkdir report\necho found > report/summary.md\nexit {ends_with}\n'
    )
    edgedet.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "GITHUB_STEP_SUMMARY": "summary"}

    def run(name: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", "-e", "-o", "pipefail", "-c", steps[name]["run"]]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    done = run("Compare both")
    assert done.returncode == code and ("::warning::" in done.stdout) == warns
    assert (tmp_path / "asked").read_text().startswith("gate base.onnx head.onnx --data head/data")
    assert run("Show the summary").returncode == 0 and (tmp_path / "summary").read_text() == "found\n"
    assert "cancelled" in steps["Show the summary"]["if"], "the summary is wanted where the gate failed"


def test_the_pages_test_passes(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    write_model(pytester.path / "base.onnx", convolutions=40)
    write_model(pytester.path / "head.onnx", convolutions=4)
    pytester.makepyfile(block("python"))
    pytester.runpytest_subprocess("-p", "edgedet.bench.pytest_plugin").assert_outcomes(passed=1)


def test_its_figures_are_those_of_the_code() -> None:
    text = " ".join(PAGE.split())
    assert f"After {FIRST_LOOK} sittings" in text and f"Fewer than {FIRST_LOOK} sittings" in text
    assert f"of {BLOCKS} blocks" in text and f"without it {100 * BETWEEN_RUNS:.0f} % are taken" in text
