"""The verb itself: its options, what it prints and writes, how it ends."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handmade_datasets import write_image
from tensorrt_double.environment import TensorRT, tensorrt
from tensorrt_models import write_models
from tiny_onnx import write_tiny_model
from typer.testing import CliRunner, Result

from edgedet.bench.history import read_history
from edgedet.bench.result import read_result
from edgedet.cli.app import app

SHORT = ["--iterations", "20", "--duration", "0", "--warmUp", "1"]
SUMMARY = [
    r"Warmup completed \d+ queries over 1 ms",
    r"Timing trace has \d+ queries over [\d.e-]+ s",
    r"=== Trace details ===",
    r"Trace averages of 10 runs:",
    r"Average on 10 runs - GPU latency: \S+ ms - Host latency: \S+ ms \(enqueue \S+ ms\)",
    r"=== Performance summary ===",
    r"Throughput: \S+ qps",
    *(
        rf"{name}: min = \S+ ms, max = \S+ ms, mean = \S+ ms, median = \S+ ms, percentile\(90%\) = \S+ ms, "
        r"percentile\(95%\) = \S+ ms, percentile\(99%\) = \S+ ms"
        for name in ("Latency", "Enqueue Time", "H2D Latency", "GPU Compute Time", "D2H Latency")
    ),
    r"Total Host Walltime: \S+ s",
    r"Total GPU Compute Time: \S+ s",
]
KEYS = {
    *("startEnqMs", "endEnqMs", "startH2dMs", "endH2dMs", "startComputeMs", "endComputeMs"),
    *("startD2hMs", "endD2hMs", "h2dMs", "computeMs", "d2hMs", "latencyMs"),
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "tiny.onnx")


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Two labelled images of the tiny model's classes, of which the file is in another folder than the model."""
    folder = tmp_path / "labelled"
    for name in ("a", "b"):
        write_image(folder / "images" / "val" / f"{name}.png")
        label = folder / "labels" / "val" / f"{name}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text("0 0.5 0.5 0.2 0.2\n")
    (folder / "data.yaml").write_text("path: .\nval: images/val\nnames: [red, green, blue]\n")
    return folder / "data.yaml"


def bench(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


def as_json(*arguments: object) -> dict[str, Any]:
    found = bench(*arguments, "--json")
    assert found.exit_code == 0, found.stderr
    return json.loads(found.stdout)


def require_summary(text: str) -> None:
    """trtexec's lines, in its order."""
    lines = iter(text.splitlines())
    for pattern in SUMMARY:
        assert any(re.fullmatch(rf"\[[\d/]+-[\d:]+\] \[I\] {pattern}", line) for line in lines), pattern


def test_it_prints_trtexecs_report_then_stages_machine_and_protocol(model: Path) -> None:
    found = bench(model, *SHORT)
    assert found.exit_code == 0, found.stderr
    require_summary(found.stdout)
    parts = ["Total GPU Compute Time", "stage, ms", "decode", "postprocess", "throughput: ", "protocol:", "software: "]
    places = [found.stdout.index(part) for part in parts]
    assert places == sorted(places)


def test_trtexecs_flags_mean_what_they_mean_there(model: Path) -> None:
    written = "--iterations=30 --duration=0 --warmUp=5 --avgRuns=3 --percentile=50,99.9 --infStreams=1 --noCudaGraph"
    written += " --useSpinWait --noDataTransfers --shapes=images:1x3x64x64"
    settings = as_json(model, *shlex.split(written))["protocol"]["settings"]
    expected = {
        "iterations": 30,
        "duration": 0,
        "warm_up": 5,
        "average_runs": 3,
        "percentiles": [50, 99.9],
        "shape": [1, 3, 64, 64],
        "streams": 1,
        "cuda_graph": False,
        "spin_wait": True,
        "data_transfers": False,
    }
    assert {name: settings[name] for name in expected} == expected


def test_the_defaults_are_trtexecs(model: Path) -> None:
    settings = as_json(model, "--duration", "0")["protocol"]["settings"]
    assert (settings["iterations"], settings["warm_up"], settings["average_runs"]) == (10, 200, 10)
    assert settings["percentiles"] == [90, 95, 99]
    help_text = bench("--help").stdout
    assert "default: 3.0" in help_text


def test_every_query_is_exported_under_trtexecs_keys(model: Path, tmp_path: Path) -> None:
    record = as_json(model, *SHORT, "--exportTimes", tmp_path / "new" / "times.json")
    times = json.loads((tmp_path / "new" / "times.json").read_text())
    assert len(times) == record["queries"] == 20
    assert all(set(query) == KEYS for query in times)
    assert [query["latencyMs"] for query in times] == pytest.approx(record["latencies"], abs=1e-5)


def test_raw_values_are_fed(model: Path, tmp_path: Path) -> None:
    np.ones((1, 3, 64, 64), np.float32).tofile(tmp_path / "t.bin")
    record = as_json(model, *SHORT, f"--loadInputs=images:{tmp_path / 't.bin'}")
    assert record["protocol"]["settings"]["input"]["kind"] == "tensor"
    assert record["stages"] is None


def test_a_datasets_images_are_fed_where_one_is_given(model: Path, labelled: Path) -> None:
    record = as_json(model, *SHORT, "--data", labelled)
    assert [Path(sample["image"]).name for sample in record["samples"]] == ["a.png", "b.png"]
    assert record["protocol"]["settings"]["input"]["kind"] == "dataset"
    assert record["map"] is None


def test_a_camera_and_its_deadlines_are_told(model: Path) -> None:
    found = bench(model, "--fps", "100", "--iterations", "5", "--duration", "0", "--warmUp", "1", "--end-to-end")
    assert found.exit_code == 0, found.stderr
    assert re.search(r"at 100 images/s: \d images, \d missed their deadlines, \d dropped", found.stdout)


def test_a_result_is_saved_and_measured_again_by_its_protocol(model: Path, tmp_path: Path) -> None:
    saved = tmp_path / "deep" / "r.json"
    assert bench(model, *SHORT, "--percentile", "50", "--save", saved).exit_code == 0
    again = bench(model, "--protocol", saved)
    assert again.exit_code == 0, again.stderr
    assert "not comparable" not in again.stderr
    assert "percentile(50%)" in again.stdout
    record = json.loads(saved.read_text())
    record["protocol"]["software"]["numpy"] = "\x1b[31m0.1"
    saved.write_text(json.dumps(record))
    other = bench(model, "--protocol", saved)
    assert other.exit_code == 0
    (line,) = (line for line in other.stderr.splitlines() if "not comparable" in line)
    assert line.startswith("not comparable with the protocol: software.numpy: \\x1b[31m0.1, ")
    differences = json.loads(bench(model, "--protocol", saved, "--json").stdout)["protocol_differences"]
    assert len(differences) == 1


def test_a_history_grows_by_a_line_and_is_drawn(model: Path, tmp_path: Path) -> None:
    history = tmp_path / "h.jsonl"
    for _ in range(2):
        assert bench(model, *SHORT, "--history", history).exit_code == 0
    with history.open("a") as file:
        file.write("{\n")
    kept = history.read_bytes()
    found = bench("--history", history)
    assert found.exit_code == 0, found.stderr
    assert f"{history}:3: skipped" in found.stderr
    assert re.search(r"tiny\.onnx +2 +", found.stdout)
    assert (tmp_path / "h.jsonl.png").stat().st_size > 1000
    assert history.read_bytes() == kept
    record = json.loads(bench("--history", history, "--json").stdout)
    assert [trend["runs"] for trend in record["trends"]] == [2]
    assert len(record["faults"]) == 1


def test_accuracy_is_that_of_the_file_that_was_measured(model: Path, labelled: Path, tmp_path: Path) -> None:
    record = as_json(model, *SHORT, "--data", labelled, "--accuracy", "--history", tmp_path / "h.jsonl")
    assert 0 <= record["map"] <= 1
    assert [one.map for one in read_history(tmp_path / "h.jsonl").entries] == [record["map"]]


def test_layers_are_timed_told_and_written_as_trtexec_does(model: Path, tmp_path: Path) -> None:
    profile = tmp_path / "p.json"
    found = bench(model, *SHORT, "--layers", "--dumpProfile", "--exportProfile", profile)
    assert found.exit_code == 0, found.stderr
    places = [found.stdout.index(part) for part in ("=== Performance summary ===", "layers, ", "=== Profile (")]
    assert places == sorted(places)
    assert "count" in json.loads(profile.read_text())[0]


def test_what_was_measured_is_told_whatever_becomes_of_the_layers(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgedet.bench.layers import profile

    for failure, exit_code in ((KeyboardInterrupt(), 130), (ModuleNotFoundError(name="onnx"), 2)):

        def fail(*_: object, failure: BaseException = failure, **__: object) -> None:
            raise failure

        monkeypatch.setattr(profile, "profile_layers", fail)
        saved = tmp_path / f"{exit_code}.json"
        found = bench(model, *SHORT, "--layers", "--save", saved)
        assert found.exit_code == exit_code
        require_summary(found.stdout)
        assert read_result(saved).interrupted == (exit_code == 130)


def test_what_was_measured_is_told_also_where_it_cannot_be_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgedet.bench import result

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device", "r.json")

    monkeypatch.setattr(result, "write_result", fail)
    found = bench(model, *SHORT, "--save", tmp_path / "r.json")
    assert found.exit_code == 2
    assert "No space left" in found.stderr
    require_summary(found.stdout)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--image", "missing.png"], "missing.png"),
        (["--threads", "999"], "--threads"),
        (["--iterations", "0"], "--iterations"),
        (["--duration", "-1"], "--duration"),
        (["--fps", "0"], "--fps"),
        (["--fps", "30", "--streams", "2"], "leave --fps or --streams out"),
        (["--percentile", "101"], "percentiles"),
        (["--percentile", "nan"], "percentiles"),
        (["--percentile", ""], "--percentile"),
        (["--shapes", "1x3x64x64"], "--shapes"),
        (["--shapes", "other:1x3x64x64"], "--shapes"),
        (["--shapes", "images:1x3x32x32"], "takes images:1x3x64x64"),
        (["--shapes", "images:999999x3x64x64"], "shape"),
        (["--loadInputs", "images"], "--loadInputs"),
        (["--loadInputs", "images:missing.bin"], "missing.bin"),
        (["--image", "a.png", "--loadInputs", "images:b"], "each say what the model is fed"),
        (["--split", "val"], "add --data DATA"),
        (["--accuracy"], "add --data DATA"),
        (["--data", "missing"], "missing"),
        (["--device", "tpu"], "tpu"),
        (["--protocol", "missing.json"], "missing.json"),
        (["--time-limit", "5"], "--time-limit: there is nothing to compare with"),
        (["--vs", "other.onnx", "--history", "h", "--streams", "2"], "does without --history, --streams"),
        (["--vs", "other.onnx", "--max-slowdown", "x"], "--max-slowdown"),
        (["--save", "."], "the path is a folder"),
    ],
)
def test_wrong_use_is_refused_before_anything_is_measured(
    model: Path, tmp_path: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = bench(model, *SHORT[: 0 if "--iterations" in arguments or "--protocol" in arguments else None], *arguments)
    assert found.exit_code == 2
    assert message in found.stderr
    assert found.stdout == ""
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.onnx"}


def test_the_model_is_not_written_over(model: Path) -> None:
    before = model.read_bytes()
    for option in ("--save", "--history", "--exportTimes", "--exportProfile", "--roofline"):
        found = bench(model, *SHORT, option, model)
        assert (found.exit_code, model.read_bytes()) == (2, before)
        assert "the model that is to be measured" in found.stderr


def test_options_of_the_protocol_are_not_given_twice(model: Path, tmp_path: Path) -> None:
    assert bench(model, *SHORT, "--save", tmp_path / "r.json").exit_code == 0
    found = bench(model, "--protocol", tmp_path / "r.json", "--warmUp", "5", "--infStreams", "1", "--noCudaGraph")
    assert found.exit_code == 2
    assert "says that already: --warmUp, --streams, --useCudaGraph" in found.stderr


def test_without_a_model_there_must_be_a_history(tmp_path: Path) -> None:
    assert "no model" in bench().stderr
    assert "--threads: there is no model" in bench("--history", tmp_path / "h", "--threads", "1").stderr
    (tmp_path / "empty.jsonl").write_text("")
    found = bench("--history", tmp_path / "empty.jsonl")
    assert found.exit_code == 2
    assert "holds no measurement" in found.stderr


@pytest.mark.parametrize("name", ["missing.onnx", "broken.onnx", "model.tflite"])
def test_a_model_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x07" * 50)
    (tmp_path / "model.tflite").write_bytes(b"")
    found = bench(tmp_path / name, *SHORT)
    assert found.exit_code == 2
    assert name in found.stderr


def wait_until_it_listens(pid: int) -> None:
    """Until the process catches SIGTERM: outside a measurement nobody does (proc(5), `SigCgt`)."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        (caught,) = re.findall(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
        if int(caught, 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.05)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--duration", "600"],
        ["--duration", "600", "--warmUp", "600000"],
        ["--fps", "20", "--duration", "600"],
        ["--fps", "20", "--duration", "600", "--warmUp", "600000"],
        ["--fps", "0.01", "--iterations", "10"],
        ["--duration", "600", "--streams", "2"],
    ],
)
def test_ctrl_c_prints_what_was_measured_and_ends_with_130(model: Path, tmp_path: Path, arguments: list[str]) -> None:
    saved, history = tmp_path / "r.json", tmp_path / "h.jsonl"
    written = ["--save", str(saved), "--history", str(history)]
    process = subprocess.Popen(
        [sys.executable, "-m", "edgedet", "bench", str(model), *arguments, *written],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until_it_listens(process.pid)
    time.sleep(0.5)  # it may still be loading: what comes then is at least one query
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "[I] Latency: min = " in stdout
    assert "interrupted: these are the figures until then" in stdout
    assert stderr.splitlines()[-1] == "interrupted"
    assert read_result(saved).interrupted
    assert not history.exists()


def test_a_board_without_training_packages_measures(model: Path, tmp_path: Path) -> None:
    missing = ("torch", "onnx", "matplotlib", "faster_coco_eval", "scipy", "lightning_fabric", "onnxscript")
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({missing!r})); from edgedet.cli.app import main; "
        f"sys.argv = ['edgedet', 'bench', *{[str(model), *SHORT, '--save', str(tmp_path / 'r.json')]!r}]; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    require_summary(done.stdout)
    assert read_result(tmp_path / "r.json").queries == 20


@pytest.fixture(scope="module")
def trt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TensorRT]:
    """JetPack 6's."""
    with tensorrt("10.3.0", tmp_path_factory.mktemp("tensorrt")) as found:
        yield found


@pytest.fixture(scope="module")
def engine(trt: TensorRT, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine")
    write_models(folder)
    built = trt.run("build", folder / "float.onnx", "--precision", "fp32", "--out", folder / "m.engine", cwd=folder)
    assert built.returncode == 0, built.stderr
    return folder / "m.engine"


def test_an_engine_gives_trtexecs_lines_and_keys(trt: TensorRT, engine: Path, tmp_path: Path) -> None:
    options = ["--streams", "2", "--noDataTransfers", "--noCudaGraph"]
    written = ["--exportTimes", tmp_path / "times.json", "--save", tmp_path / "r.json"]
    done = trt.run("bench", engine, *SHORT, *options, *written, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    require_summary(done.stdout)
    assert "[W] * Multiple inference streams are used." in done.stdout
    assert "H2D Latency: min = 0 ms, max = 0 ms" in done.stdout
    times = json.loads((tmp_path / "times.json").read_text())
    assert all(set(query) == KEYS for query in times)
    assert all(query["latencyMs"] == query["computeMs"] > 0 for query in times)
    result = read_result(tmp_path / "r.json")
    assert result.queries == len(times) >= 40
    settings = result.protocol.backend_settings
    assert (settings["transfers"], settings["cuda_graph"], settings["depth"]) == (False, False, 2)
    assert result.protocol.backend.startswith("tensorrt")


@pytest.mark.parametrize("options", [["--fps", "100"], ["--end-to-end", "--streams", "2"]])
def test_an_engine_runs_at_a_cameras_pace_and_from_file_to_detections(
    trt: TensorRT, engine: Path, tmp_path: Path, options: list[str]
) -> None:
    done = trt.run("bench", engine, *SHORT, *options, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["h2d"]["max"] > 0) == ("--fps" in options)
    assert record["latency"]["min"] > 0
