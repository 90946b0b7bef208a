"""edgedet-run: what it prints of images, and what it says of bad input."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import helper
from runner_programs import AARCH64_LIBRARY, BUILD, NATIVE, decoder, lines_of
from tiny_onnx import SPEC, picture, tiny_model, write_tiny_model

from edgedet.deploy.golden import scene
from edgedet.runtime.load import load_detector
from edgedet.runtime.predict import predict
from edgedet.runtime.sources import open_source


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "tiny.onnx")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Binary PPM, which needs no decoder: BGR and grey ones."""
    folder = tmp_path / "photos"
    folder.mkdir()
    red = picture(128, 256, ((64, 32, 96, 64), "red"), ((128, 0, 160, 32), "green"))
    assert cv2.imwrite(str(folder / "frame10.ppm"), red)
    assert cv2.imwrite(str(folder / "frame2.ppm"), scene(77, 131, seed=1))
    assert cv2.imwrite(str(folder / "plain.pgm"), np.full((40, 50), 200, np.uint8))
    (folder / "notes.txt").write_text("no image")
    return folder


def test_lines_are_those_of_python(models: Mapping[str, Path], photos: Path) -> None:
    if decoder() == "none":
        pytest.skip("edgedet-run was built with neither OpenCV nor stb")
    for place, shape in enumerate([(251, 333), (480, 640), (9, 7)]):
        assert cv2.imwrite(str(photos / f"scene{place}.png"), scene(*shape, seed=place))
    for path in photos.glob("*.p[pg]m"):
        path.unlink()  # not among the kinds that Python takes from a folder
    for name in ("float", "nms", "int8"):
        detector = load_detector(models[name], threads=1)
        options: list[object] = []
        if name == "int8":
            detector = detector.with_postprocess(score_threshold=0.3, iou_threshold=0.4)
            options = ["--score", 0.3, "--iou", 0.4]
        expected = [prediction.to_dict() for prediction in predict(detector, open_source(str(photos)))]
        found = lines_of(NATIVE.run(models[name], photos, *options))
        assert sum(len(line["detections"]) for line in found) > 5
        for one, other in zip(found, expected, strict=True):
            assert list(one) == list(other)
            assert list(one["ms"]) == list(other["ms"])
            assert all(value >= 0 for value in one.pop("ms").values())
            del other["ms"]
            assert one == json.loads(json.dumps(other))


def test_sources_and_their_order(model: Path, photos: Path) -> None:
    found = lines_of(NATIVE.run(model, photos))
    assert [(line["source"], line["frame"]) for line in found] == [
        ("frame2.ppm", 0),
        ("frame10.ppm", 1),
        ("plain.pgm", 2),
    ]
    assert [(one["name"], one["xyxy"]) for one in found[1]["detections"]] == [
        ("green", [128.0, 0.0, 160.0, 32.0]),
        ("red", [64.0, 32.0, 96.0, 64.0]),
    ]
    assert len(lines_of(NATIVE.run(model, photos / "frame2.ppm", photos / "plain.pgm"))) == 2
    assert [line["source"] for line in lines_of(NATIVE.run(model, f"{photos}/f*.p?m", "--max", 1))] == ["frame2.ppm"]


def test_an_unreadable_file_among_others_is_skipped(model: Path, photos: Path) -> None:
    (photos / "broken.ppm").write_bytes(b"P6 100 100 255\nxx")
    done = NATIVE.run(model, photos)
    assert len(lines_of(done)) == 3
    assert "skipped: " in done.stderr
    assert "truncated image" in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty file"),
        (b"GIF89a", "not an image of a known format"),
        (b"P6 10 10 255\n", "truncated image"),
        (b"P6 999999999 999999999 255\n", "more than the 134217728 that are decoded"),
        (b"P5 0 3 255\n", "without pixels"),
        (b"P6 1 1 65535\n      ", "highest value is not 255"),
        (b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR\0\1\0\0\0\1\0\0\x08\x02\0\0\0", "more than the 134217728"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "truncated image"),
        (b"BM" + b"\0" * 60, "cannot be decoded"),
    ],
)
def test_images_that_are_none(model: Path, tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "image.png").write_bytes(content)
    done = NATIVE.run(model, tmp_path / "image.png")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert f"error: {tmp_path / 'image.png'}: " in done.stderr  # OpenCV may have remarked something before


def test_a_truncated_png(model: Path, tmp_path: Path) -> None:
    data = cv2.imencode(".png", scene(50, 60, seed=0))[1].tobytes()
    (tmp_path / "image.png").write_bytes(data[:-20])
    assert "truncated image" in NATIVE.run(model, tmp_path / "image.png").stderr


@pytest.mark.parametrize("orientation", range(1, 9))
def test_cameras_that_were_held_otherwise(model: Path, tmp_path: Path, orientation: int) -> None:
    """A JPEG whose EXIF block says how to turn it: the boxes lie in the image as people see it."""
    if decoder() == "none":
        pytest.skip("edgedet-run was built with neither OpenCV nor stb")
    jpeg = cv2.imencode(".jpg", picture(32, 64, ((0, 8, 8, 16), "red")), [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    entry = b"\x01\x12\x00\x03\x00\x00\x00\x01\x00" + bytes([orientation]) + b"\x00\x00"
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + entry + b"\0\0\0\0"
    (tmp_path / "a.jpg").write_bytes(jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:])
    expected = [one.to_dict() for one in predict(load_detector(model), open_source(str(tmp_path / "a.jpg")))]
    (found,) = lines_of(NATIVE.run(model, tmp_path / "a.jpg"))
    assert (found["height"], found["width"]) == (expected[0]["height"], expected[0]["width"])
    assert [one["xyxy"] for one in found["detections"]] == [one["xyxy"] for one in expected[0]["detections"]]
    assert len(found["detections"]) == 1


def test_models_that_are_none(model: Path, photos: Path, tmp_path: Path) -> None:
    data = model.read_bytes()
    cut, plain, text = tmp_path / "cut.onnx", tmp_path / "plain.onnx", tmp_path / "text.onnx"
    cut.write_bytes(data[: len(data) // 2])
    text.write_text("no model")
    plain.write_bytes(tiny_model(metadata=None).SerializeToString())
    for path, said in [
        (tmp_path / "missing.onnx", "no such model file"),
        (cut, "not a model that ONNX Runtime can load"),
        (text, "not a model that ONNX Runtime can load"),
        (plain, "an ONNX model, but not one that edgedet exported"),
        (photos / "notes.txt", "unknown kind of model file '.txt'"),
    ]:
        done = NATIVE.run(path, photos)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
        assert str(path) in done.stderr
        assert "\n  fix: " in done.stderr


def test_weights_in_other_files_are_not_followed(photos: Path, tmp_path: Path) -> None:
    onnx.save_model(
        tiny_model(), tmp_path / "outside.onnx", save_as_external_data=True, location="weights", size_threshold=0
    )
    assert "keeps weights in other files" in NATIVE.run(tmp_path / "outside.onnx", photos).stderr


def test_a_model_that_breaks_its_own_word(photos: Path, tmp_path: Path) -> None:
    for options, said in [
        ({"output": "boxen"}, "it has no output boxes"),
        ({"side": 96}, "its input images is not images, float32 [?, 3, 64, 64]"),
    ]:
        if "side" in options:  # cells of another number: the graph must stay sound
            broken = tiny_model()
            changed = SPEC.model_copy(update={"preprocess": SPEC.preprocess.model_copy(update={"width": 96})})
            helper.set_model_props(broken, {"edgedet": changed.to_json()})
            said = "its input images is not images, float32 [?, 3, 64, 96]"
        else:
            broken = tiny_model(**options)
        (tmp_path / "broken.onnx").write_bytes(broken.SerializeToString())
        done = NATIVE.run(tmp_path / "broken.onnx", photos)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr


GOOD = json.loads(SPEC.to_json())
HOSTILE = {
    "not valid JSON": "{",
    "not valid JSON ": '{"version": 1,}',
    "not valid JSON  ": '{"model": "\\ud800"}',
    "nested more than": "[" * 100_000,
    "holds more than 200000 values": "[" + "0," * 300_000 + "0]",
    "too large": json.dumps({**GOOD, "version": 1}).replace('"version": 1', '"version": 1e999'),
    "more than 400 letters": json.dumps(GOOD).replace('"version": 1', '"version": 1' + "0" * 500),
    "it is not an object": "[]",
    "it lacks model": json.dumps({key: value for key, value in GOOD.items() if key != "model"}),
    "unknown key surprise": json.dumps({**GOOD, "surprise": 1}),
    "version is not a number in its range": json.dumps({**GOOD, "version": 2}),
    "model is not a text": json.dumps({**GOOD, "model": 3}),
    "class_names is not a list of 1 to 10000": json.dumps({**GOOD, "class_names": []}),
    "strides is not a whole number": json.dumps({**GOOD, "strides": [8.5]}),
    "height is not a number in its range": json.dumps({**GOOD, "preprocess": {**GOOD["preprocess"], "height": 1e6}}),
    "width is not a number in its range": json.dumps({**GOOD, "preprocess": {**GOOD["preprocess"], "width": -4}}),
    "std is not above 0": json.dumps({**GOOD, "preprocess": {**GOOD["preprocess"], "std": [1, 0, 1]}}),
    "resize is not letterbox": json.dumps({**GOOD, "preprocess": {**GOOD["preprocess"], "resize": "stretch"}}),
    "iou_threshold is not a number": json.dumps({**GOOD, "postprocess": {"iou_threshold": "0.5"}}),
    "beta is not above 0": json.dumps({**GOOD, "postprocess": {"beta": 0}}),
    "max_detections is not a number in": json.dumps({**GOOD, "postprocess": {"max_detections": 10**9}}),
    "class_agnostic is not true or false": json.dumps({**GOOD, "postprocess": {"class_agnostic": 1}}),
}


@pytest.mark.parametrize("said", HOSTILE)
def test_specifications_of_strangers(photos: Path, tmp_path: Path, said: str) -> None:
    path = write_tiny_model(tmp_path / "hostile.onnx", metadata=HOSTILE[said])
    done = NATIVE.run(path, photos)
    assert (done.returncode, done.stdout) == (2, "")
    assert said.strip() in done.stderr
    assert len(done.stderr) < 1000


def test_specifications_that_python_takes_too(photos: Path, tmp_path: Path) -> None:
    text = json.dumps({**GOOD, "class_names": ["\U0001f600 é", 'a "b"\\\n\t', "\x7f"]}, ensure_ascii=True)
    names = load_detector(write_tiny_model(tmp_path / "names.onnx", metadata=text)).spec.class_names
    found = lines_of(NATIVE.run(tmp_path / "names.onnx", photos / "frame10.ppm"))
    assert [one["name"] for one in found[0]["detections"]] == [names[1], names[0]]


def test_operators(models: Mapping[str, Path], photos: Path, tmp_path: Path) -> None:
    library = BUILD / "native" / "libedgedet_onnxruntime.so"
    NATIVE.command("edgedet-run")
    if not library.exists():
        pytest.skip(f"{library} is not built: make operators")
    plain = lines_of(NATIVE.run(models["nms"], photos))
    by_kernel = lines_of(NATIVE.run(models["nms"], photos, "--operators", library))
    assert [line["detections"] for line in by_kernel] == [line["detections"] for line in plain]
    cut = tmp_path / "cut.so"
    cut.write_bytes(library.read_bytes()[: library.stat().st_size // 2])
    for path, said in [(cut, "cut off"), (tmp_path / "none.so", "no such library"), (models["nms"], "not a library")]:
        done = NATIVE.run(models["nms"], photos, "--operators", path)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_libraries_that_are_none(model: Path, photos: Path, tmp_path: Path) -> None:
    cases = [(tmp_path / "none.so", "no such library"), (model, "not a library for 64-bit Linux")]
    if AARCH64_LIBRARY.exists():
        cases.append((AARCH64_LIBRARY, "built for aarch64, and this machine is x86_64"))
    for path, said in cases:
        done = NATIVE.run(model, photos, onnxruntime=path)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
        assert "--onnxruntime FILE" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no model named"),
        (["m.onnx"], "no source named"),
        (["m.onnx", "a.png", "--score", "2"], "--score: '2' is not a number from 0 to 1"),
        (["m.onnx", "a.png", "--score", "x"], "--score: 'x' is not a number"),
        (["m.onnx", "a.png", "--max", "0"], "--max: '0' is not a whole number"),
        (["m.onnx", "a.png", "--scorn", "1"], "--scorn: unknown option"),
        (["m.onnx", "a.png", "--iou"], "--iou: needs a value"),
        (["m.onnx", "a.png", "--iterations", "3"], "--iterations: is of a benchmark"),
        (["m.onnx", "a.png", "--selftest", "x"], "--selftest: takes the model alone"),
        (["m.onnx", "--benchmark", "a.png", "b.png"], "--benchmark: takes one image"),
    ],
)
def test_wrong_use(words: list[str], said: str) -> None:
    command = NATIVE.command("edgedet-run", needs_library=False)
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "\n  fix: " in done.stderr


def test_sources_that_are_none(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source, said in [
        (tmp_path / "none.png", "no such source"),
        (tmp_path / "empty", "the folder holds no image"),
        (f"{tmp_path}/*.jpg", "the pattern matches no image"),
        ("gopher://user:secret@host/x", "unknown scheme 'gopher'"),
        (model, "built without OpenCV" if "opencv" not in decoder() else "cannot be opened as a video"),
    ]:
        done = NATIVE.run(model, source)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
        assert "secret" not in done.stderr


def test_thresholds_inside_the_model_stay(models: Mapping[str, Path], photos: Path) -> None:
    done = NATIVE.run(models["nms"], photos, "--score", 0.9)
    assert (done.returncode, "inside the model" in done.stderr) == (2, True)


def test_a_full_disk(model: Path, photos: Path) -> None:
    command = [*NATIVE.command("edgedet-run"), str(model), str(photos), "--onnxruntime", str(NATIVE.library)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, "cannot write to standard output" in done.stderr) == (2, True)


def test_a_video_and_an_interrupt(model: Path, tmp_path: Path) -> None:
    if "opencv" not in decoder():
        pytest.skip("edgedet-run was built without OpenCV")
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 64))
    for _ in range(400):
        writer.write(picture(64, 96, ((8, 8, 16, 16), "red")))
    writer.release()
    found = lines_of(NATIVE.run(model, path, "--max", 3))
    assert [(line["source"], line["frame"], line["width"]) for line in found] == [("film.avi", n, 96) for n in range(3)]
    command = [*NATIVE.command("edgedet-run"), str(model), *[str(path)] * 50, "--onnxruntime", str(NATIVE.library)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        lines = [process.stdout.readline()]
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        # Not `communicate`, which would not see what `readline` has read beyond the line.
        lines += process.stdout.read().splitlines()
        errors = process.stderr.read()
        process.wait(60)
    assert time.monotonic() - started < 60
    assert (process.returncode, errors) == (130, "")
    assert all(json.loads(line) for line in lines)


class MotionJpeg(BaseHTTPRequestHandler):
    """A camera of the network that breaks off after eight frames, each time."""

    connections = 0

    def do_GET(self) -> None:
        MotionJpeg.connections += 1
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        jpeg = cv2.imencode(".jpg", picture(64, 96, ((8, 8, 16, 16), "red")))[1].tobytes()
        for _ in range(8):
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")
            time.sleep(0.02)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_a_stream_that_breaks_off_is_opened_again(model: Path) -> None:
    if "opencv" not in decoder():
        pytest.skip("edgedet-run was built without OpenCV")
    with ThreadingHTTPServer(("127.0.0.1", 0), MotionJpeg) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://user:secret@127.0.0.1:{server.server_port}/stream?token=secret"
        done = NATIVE.run(model, url, "--max", 12)
        server.shutdown()
    found = lines_of(done)
    assert len(found) == 12
    for line in found:
        assert list(line["stream"]) == ["read", "dropped", "reconnections", "lost_seconds"]
        assert line["frame"] == line["stream"]["read"] - 1
    assert all(line["source"] == f"127.0.0.1_{server.server_port}_stream" for line in found)
    last = found[-1]["stream"]
    assert last["read"] == len(found) + last["dropped"]
    assert 1 <= last["reconnections"] < MotionJpeg.connections
    assert last["lost_seconds"] > 0.4
    assert MotionJpeg.connections >= 2
    assert "12 detected in" in done.stderr
    assert "secret" not in done.stdout + done.stderr
