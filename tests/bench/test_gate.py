"""The gate on real models, and the verbs that it is asked by."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench.two_models import write_model, write_models
from tiny_onnx import SIDE, SPEC, write_tiny_model
from typer.testing import CliRunner, Result

from edgedet.bench import gate
from edgedet.bench.comparison.stored import BETWEEN_RUNS
from edgedet.bench.gate import GateResult, run_gate
from edgedet.bench.measure import measure
from edgedet.bench.settings import Input, Settings
from edgedet.cli.app import app
from edgedet.errors import EdgedetError

QUICK = Settings(duration=0.1, warm_up=10)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`fast.onnx`, `slow.onnx` that takes several times as long, `blind.onnx`, and labelled `images`."""
    return write_models(tmp_path_factory.mktemp("models"))


def gated(base: Path, head: Path, **options: Any) -> GateResult:
    return run_gate([base], [head], QUICK, with_layers=False, **options)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


class TestVerdicts:
    @pytest.mark.parametrize("fresh_processes", [False, True], ids=["one process", "fresh processes"])
    def test_a_heavier_model_is_slower_and_a_lighter_one_faster(self, folder: Path, fresh_processes: bool) -> None:
        fast, slow = folder / "fast.onnx", folder / "slow.onnx"
        found = gated(fast, slow, fresh_processes=fresh_processes, max_slowdown=0.5)
        assert (found.comparison.verdict.word, found.outcome) == ("slower", "fail")
        assert found.comparison.verdict.slowdown.estimate > 1
        assert found.comparison.arms["head"].latency.median > 2 * found.comparison.arms["base"].latency.median
        if not fresh_processes:
            assert gated(slow, fast).outcome == "pass"

    def test_a_model_is_not_slower_than_itself(self, folder: Path) -> None:
        found = gated(folder / "fast.onnx", folder / "fast.onnx", time_limit=15)
        assert found.comparison.verdict.word != "slower" and found.outcome != "fail"
        assert (found.base.model.sha256, found.builds, found.moves) == (found.head.model.sha256, None, ())

    def test_layers_that_are_new_have_moved_most(self, folder: Path, tmp_path: Path) -> None:
        heavy = write_model(tmp_path / "heavy.onnx", convolutions=6, kernel=11)  # far beyond what a busy machine adds
        found = run_gate([folder / "fast.onnx"], [heavy], QUICK, max_slowdown=0.5)
        first = found.moves[0]
        assert first.kind == "Conv" and first.difference_ms > 0
        assert sum(move.base_ms is None for move in found.moves) >= 1

    def test_layers_are_not_timed_where_the_runtime_does_not_tell(self, folder: Path) -> None:
        settings = QUICK.model_copy(update={"device": "cuda"})
        moves, notes = gate._moves(folder / "fast.onnx", folder / "slow.onnx", settings, gate.NO_TRUST)
        assert moves == () and "not those on cuda" in notes[0]
        assert "PyTorch" in gate._moves(folder / "a.pt", folder / "b.pt", QUICK, gate.NO_TRUST)[1][0]

    def test_builds_are_told_apart(self, folder: Path, tmp_path: Path) -> None:
        other = write_model(tmp_path / "other.onnx", convolutions=12)
        found = run_gate(
            [folder / "fast.onnx", other], [folder / "slow.onnx"], QUICK, with_layers=False, max_slowdown=0.5
        )
        assert found.builds is not None
        assert len(found.builds["base"].milliseconds) == 2 and found.builds["base"].build_share > 0.2
        assert found.builds["head"].build_share == 0
        assert json.loads(json.dumps(found.to_dict()))["builds"]["base"]["build_share"] > 0.2


class TestAccuracy:
    def test_a_model_that_finds_less_fails_however_fast(self, folder: Path) -> None:
        found = gated(folder / "slow.onnx", folder / "blind.onnx", data=folder / "images")
        assert found.comparison.verdict.word == "faster" and found.outcome == "fail"
        assert found.accuracy is not None and not found.accuracy.holds
        assert found.accuracy.base == pytest.approx(1) and found.accuracy.head == 0 and found.accuracy.images == 3

    def test_what_is_lost_may_be_allowed(self, folder: Path) -> None:
        found = gated(folder / "slow.onnx", folder / "blind.onnx", data=folder / "images", max_drop=100)
        assert found.outcome == "pass"


class TestRefusals:
    def test_different_protocols(self, folder: Path, tmp_path: Path) -> None:
        spec = SPEC.model_copy(update={"preprocess": SPEC.preprocess.model_copy(update={"pad_value": 114})})
        other = write_tiny_model(tmp_path / "other.onnx", metadata=spec.to_json())
        with pytest.raises(EdgedetError, match=r"different protocols: preprocess.pad_value: 0(.0)?, 114") as caught:
            gated(folder / "fast.onnx", other)
        assert caught.value.where == str(other)

    def test_another_batch(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(EdgedetError, match=r"different protocols: batch: 1, 2"):
            gated(folder / "fast.onnx", write_tiny_model(tmp_path / "two.onnx", batch=2))

    def test_a_model_that_does_not_run(self, folder: Path, tmp_path: Path) -> None:
        broken = tmp_path / "broken.onnx"
        broken.write_bytes((folder / "fast.onnx").read_bytes()[:200])
        with pytest.raises(EdgedetError) as caught:
            gated(folder / "fast.onnx", broken)
        assert caught.value.where == str(broken)

    @pytest.mark.parametrize("missing", ["base", "head"])
    def test_a_file_that_is_not_there(self, folder: Path, missing: str) -> None:
        paths = [folder / "fast.onnx", folder / "fast.onnx"]
        paths[missing == "head"] = folder / "missing.onnx"
        with pytest.raises(EdgedetError, match="no such model file"):
            gated(*paths)

    @pytest.mark.parametrize("change", ["other bytes", "removed"])
    def test_a_file_that_changed_while_it_was_measured(self, folder: Path, tmp_path: Path, change: str) -> None:
        head = write_model(tmp_path / "head.onnx", convolutions=4)

        def changing(items: Any, description: str) -> Any:
            yield from items
            if change == "removed":
                head.unlink()
            else:
                head.write_bytes((folder / "slow.onnx").read_bytes())

        with pytest.raises(EdgedetError, match=r"changed while it was measured: \S+head.onnx\n"):
            gated(folder / "fast.onnx", head, max_slowdown=0.5, track=changing)

    @pytest.mark.parametrize("settings", [Settings(streams=2), Settings(fps=30)])
    def test_several_queries_at_once_and_cameras(self, folder: Path, settings: Settings) -> None:
        with pytest.raises(EdgedetError, match="one at a time"):
            run_gate([folder / "fast.onnx"], [folder / "fast.onnx"], settings)


class TestInterrupts:
    def test_in_the_middle_of_the_comparison_what_is_known_is_given_and_is_no_pass(self, folder: Path) -> None:
        def interrupting(items: Any, description: str) -> Any:
            for number, item in enumerate(items):
                if number == 3:
                    signal.raise_signal(signal.SIGINT)
                yield item

        found = gated(folder / "fast.onnx", folder / "fast.onnx", track=interrupting, data=folder / "images")
        assert found.comparison.interrupted and len(found.comparison.sittings) == 4
        assert found.accuracy is None and found.outcome == "inconclusive"

    def test_in_the_evaluation_the_verdict_is_given(self, folder: Path) -> None:
        def interrupting(items: Any, description: str) -> Any:
            if description != "comparing":
                raise KeyboardInterrupt
            return items

        fast, slow = folder / "fast.onnx", folder / "slow.onnx"
        found = gated(slow, fast, track=interrupting, data=folder / "images")
        assert found.comparison.verdict.word == "faster" and found.comparison.interrupted
        assert found.outcome == "inconclusive"

    def test_before_the_comparison_nothing_more_is_measured(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        measured = []

        def interrupted(model: Path, *arguments: Any) -> Any:
            measured.append(model)
            found = measure(model, *arguments)
            object.__setattr__(found, "result", found.result.model_copy(update={"interrupted": True}))
            return found

        monkeypatch.setattr(gate, "measure", interrupted)
        with pytest.raises(KeyboardInterrupt):
            gated(folder / "fast.onnx", folder / "slow.onnx")
        assert measured == [folder / "fast.onnx"]

    @pytest.mark.parametrize("options", [[], ["--fresh-processes"]], ids=["one process", "fresh processes"])
    def test_a_terminals_ctrl_c_prints_what_was_measured(
        self, folder: Path, tmp_path: Path, options: list[str]
    ) -> None:
        """As a terminal does it: the signal goes to the whole group of processes."""
        command = [sys.executable, "-m", "edgedet", "gate", folder / "fast.onnx", folder / "fast.onnx"]
        # Nothing is decided: the tolerance is below every noise.
        command += ["--max-slowdown", "0.0001%", "--duration", "0.1", "--no-layers", "--junit", tmp_path / "j.xml"]
        started = subprocess.Popen(
            [*map(str, command), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        seconds = 25 if options else 12
        time.sleep(seconds)
        os.killpg(started.pid, signal.SIGINT)
        output, errors = started.communicate(timeout=120)
        assert started.returncode == 130, errors
        assert "interrupted: this is what was known until then" in output
        assert "base again" in output and "inconclusive: the head takes" in output
        assert ElementTree.parse(tmp_path / "j.xml").find(".//skipped") is not None


class TestVerbs:
    def test_gate_says_why_it_fails_and_writes_all_that_is_asked_for(self, folder: Path, tmp_path: Path) -> None:
        written = [tmp_path / "out" / name for name in ("gate.json", "junit.xml", "summary.md")]
        options = [word for pair in zip(("--save", "--junit", "--markdown"), written, strict=True) for word in pair]
        found = invoke("gate", folder / "fast.onnx", folder / "slow.onnx", "--duration", "0.1", *options)
        assert found.exit_code == 1, found.stderr
        assert "fail: slower: the head takes" in found.stdout and "layer" in found.stdout
        saved = json.loads(written[0].read_text())
        assert (saved["kind"], saved["outcome"], saved["verdict"]) == ("gate", "fail", "slower")
        assert saved["comparison"]["verdict"]["word"] == "slower" and saved["moves"]
        assert saved["base"]["model"]["path"] == str(folder / "fast.onnx")
        assert ElementTree.parse(written[1]).find(".//failure") is not None
        assert "❌ edgedet gate: fail" in written[2].read_text()

    def test_gate_prints_json_and_passes_with_0(self, folder: Path) -> None:
        arguments = ["gate", folder / "slow.onnx", folder / "fast.onnx", "--duration", "0.1", "--no-layers"]
        found = invoke(*arguments, "--data", folder / "images", "--json")
        assert found.exit_code == 0, found.stderr
        record = json.loads(found.stdout)
        assert (record["outcome"], record["verdict"], record["accuracy"]["holds"]) == ("pass", "faster", True)
        assert record["head"]["protocol"]["settings"]["input"]["kind"] == "dataset"

    @pytest.mark.parametrize("verb", ["gate", "bench"])
    def test_inconclusive_is_3(self, folder: Path, verb: str) -> None:
        """Two sittings of a second say nothing, whatever they find."""
        models = [folder / "fast.onnx", folder / "slow.onnx"]
        arguments = models if verb == "gate" else [models[1], "--vs", models[0]]
        found = invoke(verb, *arguments, "--time-limit", "1", "--duration", "0.1", "--json")
        record = json.loads(found.stdout)
        assert record["comparison"]["verdict"]["sittings"] < 12
        assert (found.exit_code, record["outcome"]) == (3, "inconclusive")

    def test_bench_against_another_ends_with_the_same_codes(self, folder: Path, tmp_path: Path) -> None:
        fast, slow, saved = folder / "fast.onnx", folder / "slow.onnx", tmp_path / "saved.json"
        slower = invoke("bench", slow, "--vs", fast, "--duration", "0.1", "--save", saved)
        assert slower.exit_code == 1, slower.stderr
        assert "slower: the head takes" in slower.stdout
        assert json.loads(saved.read_text())["head"]["model"]["path"] == str(slow)

    def test_bad_input_is_2(self, folder: Path, tmp_path: Path) -> None:
        fast = folder / "fast.onnx"
        for arguments, says in (
            ([fast, folder / "missing.onnx"], "no such model file"),
            ([fast, fast, "--max-slowdown", "0"], "no percentage above 0"),
            ([fast, fast, "--split", "val"], "add --data DATA"),
            ([fast, fast, "--save", tmp_path], "is a folder"),
            ([fast, fast, "--junit", fast], "name another file"),
            ([fast, fast, "--markdown", fast / "x.md"], "cannot write"),
            ([fast, fast, "--engines", "2", "--build", fast], "leave --engines out"),
            ([fast, fast, "--between-runs", "5%"], "--between-runs: both are measured now"),
        ):
            found = invoke("gate", *arguments)
            assert found.exit_code == 2 and says in found.stderr, (arguments, found.stderr)
        assert fast.read_bytes().startswith(b"\x08"), "the model is still one"


@pytest.fixture(scope="module")
def stored(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a result of the fast model, changed, and without what this machine was disturbed by."""
    source = tmp_path_factory.mktemp("stored") / "source.json"
    found = measure(folder / "fast.onnx", Settings(duration=0.5, input=Input(kind="dataset", path=folder / "images")))
    record = json.loads(found.result.model_dump_json()) | {"disturbances": []}

    def write(changes: Callable[[dict[str, Any]], object] = lambda record: None) -> Path:
        copy = json.loads(json.dumps(record))
        changes(copy)
        source.write_text(json.dumps(copy))
        return source

    return write


class TestStoredBaselines:
    @pytest.fixture(autouse=True)
    def _a_quiet_machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("edgedet.bench.measure.disturbances", lambda *arguments, **options: ())

    def test_a_head_far_slower_than_a_stored_base_fails(self, folder: Path, stored: Callable[..., Path]) -> None:
        found = invoke("gate", stored(), folder / "slow.onnx")
        assert found.exit_code == 1, found.stderr
        assert "fail: slower" in found.stdout and "the base was measured earlier, not in turn" in found.stdout
        assert "base again" not in found.stdout

    def test_what_two_runs_may_differ_by_is_taken_from_the_command_line(
        self, folder: Path, stored: Callable[..., Path]
    ) -> None:
        for options, allowed in (([], BETWEEN_RUNS), (["--between-runs", "7%"], 0.07)):
            record = json.loads(invoke("gate", stored(), folder / "slow.onnx", *options, "--json").stdout)
            assert record["comparison"]["verdict"]["noise"]["high"] == pytest.approx(allowed)

    def test_it_is_measured_as_the_base_was(self, folder: Path, stored: Callable[..., Path]) -> None:
        found = invoke("gate", stored(), folder / "fast.onnx", "--json")
        record = json.loads(found.stdout)
        assert record["head"]["protocol"] == record["base"]["protocol"]
        assert record["comparison"]["sittings"] == [] and record["outcome"] != "fail"
        assert any("not compared with a stored result" in note for note in record["notes"])

    def test_one_from_another_device_is_refused_and_says_in_what_it_differs(
        self, folder: Path, stored: Callable[..., Path]
    ) -> None:
        def elsewhere(record: dict[str, Any]) -> None:
            record["protocol"]["computer"].update(cpu="Cortex-A76", board="Orin")
            record["protocol"]["software"]["onnxruntime"] = "1.0"

        found = invoke("gate", stored(elsewhere), folder / "fast.onnx")
        assert found.exit_code == 2
        for part in ("different protocols", "computer.cpu: Cortex-A76, ", "computer.board: Orin", "onnxruntime: 1.0, "):
            assert part in found.stderr

    def test_what_was_disturbed_says_nothing(self, folder: Path, stored: Callable[..., Path]) -> None:
        busy = [{"kind": "busy", "what": "others ran", "value": 0.5}]
        found = invoke("gate", stored(lambda record: record.update(disturbances=busy)), folder / "slow.onnx")
        assert found.exit_code == 3, found.stderr
        assert "a run was disturbed" in found.stdout and "disturbed: others ran" in found.stdout

    def test_accuracy_is_held_to_the_stored_one(self, folder: Path, stored: Callable[..., Path]) -> None:
        base = stored(lambda record: record.update(map=1.0))
        found = invoke("gate", base, folder / "blind.onnx", "--data", folder / "images", "--json")
        accuracy = json.loads(found.stdout)["accuracy"]
        assert found.exit_code == 1 and (accuracy["base"], accuracy["head"], accuracy["images"]) == (1, 0, 3)

    def test_what_cannot_be_compared_is_refused(self, folder: Path, stored: Callable[..., Path]) -> None:
        fast, images = folder / "fast.onnx", folder / "images"
        for base, arguments, says in (
            (stored, ["--data", images], "says nothing of accuracy"),
            (
                stored,
                ["--threads", "1", "--time-limit", "5"],
                "the result says how to measure: --threads, --time-limit",
            ),
            (lambda: stored(lambda record: record.update(latencies=[1.0] * 5)), [], "5 queries of the base"),
            (lambda: stored(lambda record: record.update(latencies=["x"])), [], "latencies.0"),
            (lambda: stored(lambda record: record.update(kind="gate")), [], "not a result of edgedet"),
            (lambda: stored(lambda record: record["protocol"]["settings"].update(streams=2)), [], "one at a time"),
        ):
            found = invoke("gate", base(), fast, *arguments)
            assert found.exit_code == 2 and says in found.stderr, (says, found.stderr)
        missing = invoke("gate", folder / "missing.json", fast)
        assert missing.exit_code == 2 and "cannot read the file" in missing.stderr


def test_the_models_are_what_the_tests_take_them_for(folder: Path) -> None:
    assert (SIDE, SPEC.class_names[0]) == (64, "red")
    fast, slow = (measure(folder / name, QUICK).result for name in ("fast.onnx", "slow.onnx"))
    assert slow.latency.median > 2 * fast.latency.median
