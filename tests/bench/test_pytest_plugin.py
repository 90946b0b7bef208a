"""The plugin in pytest runs of its own, as a project has it that edgedet is installed beside."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from bench.two_models import write_model, write_models

from edgedet.bench.measure import measure
from edgedet.bench.settings import Settings

pytest_plugins = ["pytester"]

CALL = "def test_speed(latency_gate):\n    found = latency_gate({arguments})\n    print('went on:', found.outcome)\n"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`fast.onnx`, a `slow.onnx`, a `blind.onnx`, and labelled `images`."""
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(autouse=True)
def _no_other_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where edgedet was installed with it, pytest would load it twice, under two names."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def run(pytester: pytest.Pytester, arguments: str, *options: object) -> pytest.RunResult:
    pytester.makepyfile(CALL.format(arguments=arguments))
    words = ["-p", "edgedet.bench.pytest_plugin", "-rs", "-s", *map(str, options)]
    return pytester.runpytest_subprocess(*words)


def test_a_model_that_is_faster_passes_and_the_test_goes_on(pytester: pytest.Pytester, models: Path) -> None:
    found = run(pytester, f"{str(models / 'fast.onnx')!r}", "--latency-baseline", models / "slow.onnx")
    found.assert_outcomes(passed=1)
    found.stdout.fnmatch_lines(["*went on: pass*", "*= latency =*", "*::test_speed: pass: faster: the head takes *"])


def test_a_slower_one_fails_with_the_sentences_and_no_traceback(
    pytester: pytest.Pytester, models: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report"
    model, baseline = models / "slow.onnx", models / "fast.onnx"
    found = run(pytester, f"{str(model)!r}", "--latency-baseline", baseline, "--latency-report", report)
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(["fail: slower: the head takes *", "the base beside itself: *"])
    assert "Traceback" not in found.stdout.str() and "went on" not in found.stdout.str()
    (record,), (junit,), (summary,) = (list(report.glob(f"*.{ending}")) for ending in ("json", "xml", "md"))
    assert json.loads(record.read_text())["outcome"] == "fail"
    assert ElementTree.parse(junit).find(".//failure") is not None
    assert "edgedet gate: fail" in summary.read_text()


@pytest.mark.parametrize(("option", "outcome"), [("skip", "skipped"), ("fail", "failed")])
def test_what_is_not_decided_is_skipped_or_fails(
    pytester: pytest.Pytester, models: Path, option: str, outcome: str
) -> None:
    arguments = f"{str(models / 'fast.onnx')!r}, {str(models / 'fast.onnx')!r}, time_limit=0"
    found = run(pytester, arguments, "--latency-inconclusive", option)
    found.assert_outcomes(**{outcome: 1})
    found.stdout.fnmatch_lines(["*inconclusive: the head takes *"])


def test_a_folder_holds_the_baseline_of_each_model(pytester: pytest.Pytester, models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "baselines"
    write_model(folder / "fast.onnx", convolutions=40)
    pytester.makepyfile(
        "import pytest\n"
        f"@pytest.mark.parametrize('name', ['fast.onnx', 'slow.onnx'])\n"
        f"def test_speed(latency_gate, name): latency_gate(f'{models}/{{name}}')\n"
    )
    found = pytester.runpytest_subprocess("-p", "edgedet.bench.pytest_plugin", "-rs", f"--latency-baseline={folder}")
    found.assert_outcomes(passed=1, skipped=1)
    found.stdout.fnmatch_lines([f"SKIPPED*{folder} has no baseline of slow.onnx"])


def test_a_stored_result_of_another_protocol_fails(pytester: pytest.Pytester, models: Path, tmp_path: Path) -> None:
    record = json.loads(measure(models / "fast.onnx", Settings(duration=0.2)).result.model_dump_json())
    record["protocol"]["computer"]["cpu"] = "Cortex-A76"
    baseline = tmp_path / "slow.json"
    baseline.write_text(json.dumps(record))
    found = run(pytester, f"{str(models / 'slow.onnx')!r}", "--latency-baseline", tmp_path)
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(["*different protocols: computer.cpu: Cortex-A76, *"])


def test_a_model_that_finds_less_fails(pytester: pytest.Pytester, models: Path) -> None:
    images = str(models / "images")
    arguments = f"{str(models / 'blind.onnx')!r}, {str(models / 'slow.onnx')!r}, data={images!r}"
    found = run(pytester, arguments)
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(
        ["fail: faster*", "mAP50-95 1.0000 to 0.0000 on 3 images of val: -100.00 points, beyond*"]
    )


def test_without_a_baseline_a_test_is_skipped(pytester: pytest.Pytester, models: Path) -> None:
    found = run(pytester, f"{str(models / 'fast.onnx')!r}")
    found.assert_outcomes(skipped=1)
    found.stdout.fnmatch_lines(["*there is no baseline: give --latency-baseline*"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("'missing.onnx', 'missing.onnx'", "missing.onnx: no such model file*"),
        ("{fast}, {fast}, threads=0", "latency_gate: threads: *"),
    ],
)
def test_bad_input_fails_in_words(pytester: pytest.Pytester, models: Path, arguments: str, says: str) -> None:
    found = run(pytester, arguments.format(fast=repr(str(models / "fast.onnx"))))
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines([says])
    assert "Traceback" not in found.stdout.str()


@pytest.mark.parametrize("value", ["0", "101", "much", "-3%"])
def test_a_percentage_is_one(pytester: pytest.Pytester, value: str) -> None:
    found = pytester.runpytest_subprocess("-p", "edgedet.bench.pytest_plugin", f"--latency-max-slowdown={value}")
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    found.stderr.fnmatch_lines(["*--latency-max-slowdown: invalid percentage value*"])


def test_models_are_not_timed_in_parallel(pytester: pytest.Pytester, models: Path) -> None:
    pytester.makeconftest("def pytest_configure(config): config.workerinput = {'workercount': 2, 'workerid': 'gw0'}\n")
    found = run(pytester, f"{str(models / 'fast.onnx')!r}, {str(models / 'fast.onnx')!r}")
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(["models are timed one at a time: *"])


def test_a_project_that_does_not_use_it_pays_nothing() -> None:
    program = (
        "import sys, pytest; before = set(sys.modules); import edgedet.bench.pytest_plugin\n"
        "print(sorted(name for name in set(sys.modules) - before if not name.startswith('edgedet')))\n"
        "print(sorted(name for name in sys.modules if name.startswith('edgedet')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    others, own = done.stdout.splitlines()
    assert others == "[]"
    assert own == "['edgedet', 'edgedet.bench', 'edgedet.bench.pytest_plugin']"


def test_it_is_announced_to_pytest() -> None:
    text = (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text()
    assert '[project.entry-points.pytest11]\nedgedet = "edgedet.bench.pytest_plugin"' in text
