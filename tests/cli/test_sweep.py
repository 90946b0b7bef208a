from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edgedet.cli.app import app
from edgedet.train.sweep import run
from edgedet.train.sweep.run import SweepResult
from edgedet.train.sweep.study import TrialSummary

SWEEP = ["sweep", "data", "--space", "space.yaml", "--out", "out"]
TRIALS = [
    TrialSummary(0, "complete", 0.31, {"optimizer.lr": 0.00123456, "model": "a"}, 60.0, None),
    TrialSummary(1, "failed", None, {"optimizer.lr": 0.5, "model": "b"}, 1.0, "CheckFailedError: not finite"),
    TrialSummary(2, "complete", 0.42, {"optimizer.lr": 0.01, "model": "b"}, 90.0, None),
    TrialSummary(3, "pruned", 0.5, {"optimizer.lr": 0.02, "model": "b"}, 9.0, None),
]


def finding(monkeypatch: pytest.MonkeyPatch, trials: list[TrialSummary]) -> dict[str, Any]:
    """Puts a sweep that finds these trials in the place of the real one; what it was asked for comes in here."""
    asked: dict[str, Any] = {}

    def sweep(base: Any, space: Path, out: Path, **options: Any) -> SweepResult:
        asked.update(options, base=base, space=space)
        return SweepResult(options["name"], out, trials, {"optimizer.lr": 0.75, "model": 0.25})

    monkeypatch.setattr(run, "sweep", sweep)
    return asked


def test_the_best_trials_are_listed_best_first_and_pruned_ones_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    finding(monkeypatch, TRIALS)
    result = CliRunner().invoke(app, SWEEP)
    assert result.exit_code == 0, result.stderr
    rows = [line.split() for line in result.stdout.splitlines() if " complete " in line or " pruned " in line]
    assert [row[:3] for row in rows] == [
        ["2", "complete", "0.4200"],
        ["0", "complete", "0.3100"],
        ["3", "pruned", "0.5000"],
    ]
    assert rows[1][3:] == ["0.001235", "a", "1.0"]
    assert "trial 1 failed: CheckFailedError: not finite" in result.stdout
    assert "edgedet export out/trial-0002/best.pt" in result.stdout


def test_json_holds_every_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    finding(monkeypatch, TRIALS)
    result = json.loads(CliRunner().invoke(app, [*SWEEP, "--json"]).stdout)
    assert [one["state"] for one in result["trials"]] == ["complete", "failed", "complete", "pruned"]
    assert result["best"]["number"] == 2
    assert result["ranked"] == [2, 0, 3]
    assert result["importances"] == {"optimizer.lr": 0.75, "model": 0.25}


def test_without_a_completed_trial_it_exits_with_1_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    finding(monkeypatch, TRIALS[1:2])
    result = CliRunner().invoke(app, SWEEP)
    assert result.exit_code == 1
    assert "not finite" in result.stdout
    assert "no trial was completed" in result.stdout
    assert "best trials" not in result.stdout


def test_trials_that_were_drawn_again_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = [TrialSummary(number, "refused", None, {}, 0.0, "loss: has no settings") for number in (4, 5)]
    finding(monkeypatch, [*TRIALS, *refused])
    result = CliRunner().invoke(app, SWEEP)
    assert result.exit_code == 0
    assert "drawn again, as their settings do not go together: 2 (loss: has no settings)" in result.stdout
    assert "trial 4 failed" not in result.stdout


def test_the_study_is_kept_beside_the_runs_unless_a_storage_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = finding(monkeypatch, TRIALS)
    base = tmp_path / "base.yaml"
    base.write_text("data: other\nimgsz: 64\n")
    CliRunner().invoke(app, [*SWEEP, "--config", str(base), "--trials", "7"])
    assert asked["storage"] == "sqlite:///out/sweep.db"
    assert asked["base"] == {"data": "data", "imgsz": 64}
    assert (asked["trials"], asked["prune"]) == (7, True)
    CliRunner().invoke(app, [*SWEEP, "--storage", "sqlite:///x.db", "--no-prune"])
    assert (asked["storage"], asked["prune"]) == ("sqlite:///x.db", False)


def test_an_interrupt_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> SweepResult:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "sweep", interrupted)
    result = CliRunner().invoke(app, SWEEP)
    assert result.exit_code == 130
    assert "the same command goes on with it" in result.stderr


def test_an_unknown_setting_is_one_message(tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text("optimizer.lrr: {low: 0.1, high: 1}")
    result = CliRunner().invoke(app, ["sweep", "data", "--space", str(space), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "did you mean 'lr'" in result.stderr
    assert not (tmp_path / "out").exists()
