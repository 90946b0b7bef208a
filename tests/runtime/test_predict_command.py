"""`edgedet predict` from the command line to the drawn files."""

from __future__ import annotations

import fcntl
import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_onnx import picture, write_tiny_model
from typer.testing import CliRunner

from edgedet.cli.app import app
from edgedet.runtime.drawn import image_target

PROGRAM = "import sys; sys.argv[0] = 'edgedet'\nfrom edgedet.cli.app import main; main()"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "model" / "tiny.onnx")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two folders with an image of the same name each."""
    for folder, color in (("a", "red"), ("b", "blue")):
        (tmp_path / "photos" / folder).mkdir(parents=True)
        image = picture(128, 256, ((64, 32, 96, 64), color), ((128, 0, 160, 32), "green"))
        assert cv2.imwrite(str(tmp_path / "photos" / folder / "1.png"), image)
    return tmp_path / "photos"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A red square that moves by a cell a frame."""
    return write_clip(tmp_path / "clip.avi", 6)


def write_clip(path: Path, frames: int) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 15.0, (256, 128))
    for index in range(frames):
        left = 32 * (index % 8)
        writer.write(picture(128, 256, ((left, 32, left + 32, 64), "red")))
    writer.release()
    return path


def predict(*args: object) -> subprocess.CompletedProcess[str]:
    result = CliRunner().invoke(app, ["predict", *map(str, args), "--threads", "1"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return subprocess.CompletedProcess(list(args), result.exit_code, result.stdout, result.stderr)


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def frames_of(path: Path) -> list[np.ndarray]:
    capture, frames = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        frames.append(read[1])
    return frames


class TestImages:
    def test_json_lines(self, model: Path, photos: Path, tmp_path: Path) -> None:
        result = predict(model, photos / "a" / "1.png", "--out", tmp_path / "out", "--json")
        assert result.returncode == 0
        [line] = result.stdout.splitlines()
        read = json.loads(line)
        assert {key: read[key] for key in ("source", "frame", "width", "height")} == {
            "source": "1.png",
            "frame": 0,
            "width": 256,
            "height": 128,
        }
        assert sorted(read["detections"], key=lambda one: one["name"]) == [
            {"xyxy": [128, 0, 160, 32], "score": 1.0, "class_id": 1, "name": "green"},
            {"xyxy": [64, 32, 96, 64], "score": 1.0, "class_id": 0, "name": "red"},
        ]
        assert set(read["ms"]) == {"preprocess", "inference", "postprocess"}

    def test_readable_lines(self, model: Path, photos: Path, tmp_path: Path) -> None:
        result = predict(model, photos / "a" / "1.png", "--out", tmp_path / "out")
        assert result.stdout.startswith("1.png 256x128: 1 ")
        assert "1 red" in result.stdout
        assert str(tmp_path / "out") in result.stderr.replace("\n", "")

    def test_drawn_images_keep_their_folders(self, model: Path, photos: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        assert predict(model, f"{photos}/**/*.png", "--out", out).returncode == 0
        assert files(out) == ["a/1.png", "b/1.png"]
        before, after = cv2.imread(str(photos / "a" / "1.png")), cv2.imread(str(out / "a" / "1.png"))
        assert after.shape == before.shape
        changed = (before != after).any(axis=2)
        assert changed[32, 64:96].all()  # the box's upper edge
        assert not changed[100:, :].any()

    def test_nothing_is_drawn_with_no_save(
        self, model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        before = files(tmp_path)
        assert predict(model, photos / "a", "--no-save").returncode == 0
        assert files(tmp_path) == before

    def test_thresholds_and_limit(self, model: Path, photos: Path) -> None:
        strict = predict(model, f"{photos}/*/*", "--no-save", "--json", "--score", "1.0")
        assert [json.loads(line)["detections"] for line in strict.stdout.splitlines()] == [[], []]
        assert len(predict(model, f"{photos}/*/*", "--no-save", "--max", "1").stdout.splitlines()) == 1

    def test_broken_images_are_counted_in_one_warning(self, model: Path, photos: Path) -> None:
        for name in ("0.png", "2.jpg"):
            (photos / "a" / name).write_bytes(b"\x89PNG broken")
        result = predict(model, photos / "a", "--no-save")
        assert result.returncode == 0
        assert len(result.stdout.splitlines()) == 1
        assert result.stderr.count("warning") == 1
        assert "skipped 2 images" in result.stderr

    def test_the_source_is_never_replaced(self, model: Path, photos: Path) -> None:
        before = (photos / "a" / "1.png").read_bytes()
        result = predict(model, photos / "a", "--out", photos / "b" / ".." / "a")
        assert result.returncode == 2
        assert "would replace the source" in result.stderr
        assert (photos / "a" / "1.png").read_bytes() == before

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["missing.png"], "no such source"),
            (["photos/a/1.png", "--out", "model/tiny.onnx"], "cannot write"),
            (["photos/a/1.png", "--score", "2"], "--score"),
            (["photos/a/1.png", "--device", "tpu"], "unknown device 'tpu'"),
        ],
    )
    def test_wrong_use_is_one_message(
        self,
        model: Path,
        photos: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        arguments: list[str],
        message: str,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        result = predict(model, *arguments)
        assert result.returncode == 2
        assert message in result.stderr
        assert result.stdout == ""

    @pytest.mark.parametrize(
        ("name", "target"),
        [
            ("a.jpg", "out/a.jpg"),
            ("x/a.PNG", "out/x/a.PNG"),
            ("scan.tiff", "out/scan.tiff.png"),
            ("../../etc/a.jpg", "out/etc/a.jpg"),
            ("/etc/a.jpg", "out/etc/a.jpg"),
        ],
    )
    def test_drawn_images_stay_in_their_folder(self, name: str, target: str) -> None:
        assert image_target(Path("out"), name) == Path(target)


class TestVideo:
    def test_becomes_a_drawn_video(self, model: Path, clip: Path, tmp_path: Path) -> None:
        result = predict(model, clip, "--out", tmp_path / "out", "--json")
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        assert [line["frame"] for line in lines] == list(range(6))
        assert [round(line["detections"][0]["xyxy"][0]) for line in lines] == [32 * index for index in range(6)]
        assert files(tmp_path / "out") == ["clip.mp4"]
        drawn = frames_of(tmp_path / "out" / "clip.mp4")
        assert len(drawn) == 6
        assert drawn[0].shape == (128, 256, 3)
        assert cv2.VideoCapture(str(tmp_path / "out" / "clip.mp4")).get(cv2.CAP_PROP_FPS) == 15.0
        plain = frames_of(clip)
        assert all(np.abs(a.astype(int) - b).max() > 60 for a, b in zip(drawn, plain, strict=True))

    def test_limit(self, model: Path, clip: Path, tmp_path: Path) -> None:
        predict(model, clip, "--out", tmp_path / "out", "--max", "2")
        assert len(frames_of(tmp_path / "out" / "clip.mp4")) == 2

    def test_interrupted_it_ends_with_a_playable_video(self, model: Path, tmp_path: Path) -> None:
        clip = write_clip(tmp_path / "long.avi", 1500)
        command = [sys.executable, "-c", PROGRAM, "predict", str(model), str(clip), "--out", str(tmp_path / "out")]

        def as_if_started_by_a_person() -> None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # what a shell starts in the background ignores it

        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=as_if_started_by_a_person
        ) as process:
            assert process.stdout is not None
            # A pipe this small holds the process up, however fast it is, until the rest is read.
            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
            for _ in range(5):
                assert process.stdout.readline()
            process.send_signal(signal.SIGINT)
            lines = process.stdout.read().splitlines()
            assert process.wait(timeout=30) == 130
        assert files(tmp_path / "out") == ["long.mp4"]
        assert 5 <= len(frames_of(tmp_path / "out" / "long.mp4")) <= len(lines) + 6 < 1500

    def test_a_full_disk_is_an_error_and_leaves_the_previous_video(self, model: Path, tmp_path: Path) -> None:
        clip = write_clip(tmp_path / "long.avi", 300)
        out = tmp_path / "out"
        out.mkdir()
        (out / "long.mp4").write_bytes(b"previous")
        command = [sys.executable, "-c", PROGRAM, "predict", str(model), str(clip), "--out", str(out)]

        def files_of_at_most_20_kb() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

        result = subprocess.run(command, capture_output=True, text=True, preexec_fn=files_of_at_most_20_kb)
        assert result.returncode == 2
        assert "could not be written" in result.stderr or "cannot write" in result.stderr
        assert files(out) == ["long.mp4"]
        assert (out / "long.mp4").read_bytes() == b"previous"

    def test_the_source_is_never_replaced(self, model: Path, clip: Path, tmp_path: Path) -> None:
        source = tmp_path / "clip.mp4"
        clip.rename(source)
        before = source.read_bytes()
        result = predict(model, source, "--out", tmp_path)
        assert result.returncode == 2
        assert "would replace the source" in result.stderr
        assert source.read_bytes() == before
