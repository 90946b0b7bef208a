"""`edgedet predict` on streams: what it prints, what it leaves behind, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from stream_servers import MjpegSender, Sender
from tiny_onnx import picture, write_tiny_model
from typer.testing import CliRunner

from edgedet.cli.app import app


def red_square(number: int) -> np.ndarray:
    """Moves by a cell a picture."""
    left = 32 * (number % 8)
    return picture(128, 256, ((left, 32, left + 32, 64), "red"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture
def sender() -> Iterator[Sender]:
    with MjpegSender(red_square) as sender:
        yield sender


def predict(*args: object) -> subprocess.CompletedProcess[str]:
    result = CliRunner().invoke(app, ["predict", *map(str, args), "--threads", "1"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return subprocess.CompletedProcess(list(args), result.exit_code, result.stdout, result.stderr)


def frames_of(path: Path) -> int:
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.read()[0]:
        count += 1
    return count


def when(condition: Callable[[], bool], action: Callable[[], None]) -> threading.Thread:
    def watch() -> None:
        while not condition():
            time.sleep(0.01)
        action()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_each_line_says_what_became_of_the_frames(model: Path, sender: Sender, tmp_path: Path) -> None:
    result = predict(model, sender.url, "--json", "--max", "12", "--queue", "50", "--out", tmp_path)
    assert result.returncode == 0
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["frame"] for line in lines] == list(range(12))
    lefts = [line["detections"][0]["xyxy"][0] for line in lines]
    assert np.diff(np.array(lefts) / 32).round().astype(int).tolist().count(1) >= 10, "no picture was passed over"
    assert set(lines[0]["stream"]) == {"read", "dropped", "reconnections", "lost_seconds"}
    assert all(line["stream"]["read"] > line["frame"] for line in lines)
    assert "12 detected in, 0 dropped" in result.stderr
    assert frames_of(next(tmp_path.glob("*.mp4"))) == 12


def test_torn_off_for_good_it_says_so_and_keeps_the_video(model: Path, sender: Sender, tmp_path: Path) -> None:
    when(lambda: sender.sent > 40, sender.stop)
    result = predict(model, sender.url, "--json", "--reconnect", "0.6", "--out", tmp_path)
    assert result.returncode == 2
    done = len(result.stdout.splitlines())
    assert done >= 5
    [message] = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert f"{sender.url} gives no frames any more and did not come back in 0.6 s" in message
    assert f"{done} detected in" in result.stderr
    assert frames_of(next(tmp_path.glob("*.mp4"))) == done
    assert len(list(tmp_path.iterdir())) == 1


def test_torn_off_and_back_it_goes_on(model: Path, sender: Sender, tmp_path: Path) -> None:
    when(lambda: sender.sent > 20, sender.hang_up)
    result = predict(model, sender.url, "--json", "--max", "150", "--queue", "1000", "--out", tmp_path)
    assert result.returncode == 0
    assert json.loads(result.stdout.splitlines()[-1])["stream"]["reconnections"] == 1
    assert "lost and found again once" in result.stderr
    assert frames_of(next(tmp_path.glob("*.mp4"))) == 150


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_ends_well_with_a_playable_video(
    model: Path, sender: Sender, tmp_path: Path, number: signal.Signals
) -> None:
    arguments = ["predict", str(model), sender.url, "--out", str(tmp_path), "--threads", "1"]
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    program += "from edgedet.cli.app import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        lines = [process.stdout.readline() for _ in range(5)]
        sender.stalled.set()
        process.send_signal(number)
        lines += process.stdout.read().splitlines()
        assert process.wait(timeout=60) == 0, process.stderr.read()
        assert "detected in" in process.stderr.read()
    assert frames_of(next(tmp_path.glob("*.mp4"))) >= 5


@pytest.mark.parametrize(
    ("option", "value"), [("--queue", "0"), ("--queue", "1001"), ("--reconnect", "-1"), ("--silence", "0")]
)
def test_settings_out_of_range(model: Path, option: str, value: str) -> None:
    result = predict(model, "0", option, value)
    assert result.returncode == 2
    assert option in result.stderr


def test_files_have_no_such_counts(model: Path, tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "a.png"), red_square(0))
    result = predict(model, tmp_path / "a.png", "--json", "--no-save")
    assert "stream" not in json.loads(result.stdout)
    assert "dropped" not in result.stderr
