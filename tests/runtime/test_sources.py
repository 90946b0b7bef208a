from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet.errors import EdgedetError
from edgedet.runtime.sources import capture, open_source
from edgedet.runtime.sources.device import network_stream
from edgedet.runtime.sources.frame import VideoInfo
from edgedet.runtime.sources.images import natural_key

GREY = np.full((24, 32, 3), 128, np.uint8)


def write_image(path: Path, value: int = 128) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((24, 32, 3), value, np.uint8))
    return path


def write_video(path: Path, frames: int = 6, size: tuple[int, int] = (64, 48), fps: float = 12.5) -> Path:
    codec = {".mp4": "mp4v", ".avi": "MJPG"}[path.suffix]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, size)
    for index in range(frames):
        writer.write(np.full((size[1], size[0], 3), 40 * index, np.uint8))
    writer.release()
    return path


def names(text: object) -> list[str]:
    return [frame.name for frame in open_source(str(text))]


class TestImages:
    def test_one_file(self, tmp_path: Path) -> None:
        [frame] = open_source(str(write_image(tmp_path / "a.png", 77)))
        assert (frame.name, frame.index) == ("a.png", 0)
        assert frame.image.shape == (24, 32, 3)
        assert (frame.image == 77).all()

    def test_a_folder_in_natural_order_without_what_is_no_image(self, tmp_path: Path) -> None:
        for name in ("frame10.png", "frame9.JPG", "frame1.jpg", ".hidden.jpg", "below/x.jpg"):
            write_image(tmp_path / name)
        (tmp_path / "notes.txt").write_text("text")
        (tmp_path / "folder.jpg").mkdir()
        assert names(tmp_path) == ["frame1.jpg", "frame9.JPG", "frame10.png"]

    def test_a_pattern_keeps_the_folders_apart(self, tmp_path: Path) -> None:
        for name in ("b/1.jpg", "a/1.jpg", "a/c/1.jpg", "a/2.txt.png"):
            write_image(tmp_path / name)
        assert names(f"{tmp_path}/*/1.jpg") == ["a/1.jpg", "b/1.jpg"]
        assert names(f"{tmp_path}/**/*.jpg") == ["a/1.jpg", "a/c/1.jpg", "b/1.jpg"]
        assert names(f"{tmp_path}/a/?.*") == ["1.jpg", "2.txt.png"]

    def test_a_pattern_relative_to_here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_image(tmp_path / "a" / "1.jpg")
        monkeypatch.chdir(tmp_path)
        assert names("*/*.jpg") == ["a/1.jpg"]
        assert names("./a/*") == ["1.jpg"]

    def test_a_name_that_reads_like_a_pattern_is_taken_as_it_is(self, tmp_path: Path) -> None:
        write_image(tmp_path / "a[1].jpg")
        assert names(tmp_path / "a[1].jpg") == ["a[1].jpg"]

    def test_unreadable_images_are_skipped_and_noted(self, tmp_path: Path) -> None:
        whole = write_image(tmp_path / "2.jpg").read_bytes()
        write_image(tmp_path / "4.jpg")
        (tmp_path / "1.jpg").write_bytes(whole[: len(whole) // 2])
        (tmp_path / "3.png").write_bytes(b"no image")
        source = open_source(str(tmp_path))
        assert [(frame.name, frame.index) for frame in source] == [("2.jpg", 1), ("4.jpg", 3)]
        assert len(source.skipped) == 2
        assert "1.jpg: " in source.skipped[0]
        assert "truncated" in source.skipped[0]

    def test_an_unreadable_image_alone_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "1.jpg").write_bytes(b"no image")
        with pytest.raises(EdgedetError) as caught:
            names(tmp_path / "1.jpg")
        assert caught.value.where == str(tmp_path / "1.jpg")

    def test_a_folder_of_nothing_but_unreadable_images_is_an_error(self, tmp_path: Path) -> None:
        for name in ("1.jpg", "2.jpg"):
            (tmp_path / name).write_bytes(b"no image")
        with pytest.raises(EdgedetError, match=r"none of the 2 images .*1\.jpg"):
            names(tmp_path)

    def test_a_folder_without_images(self, tmp_path: Path) -> None:
        write_image(tmp_path / "below" / "a.jpg")
        with pytest.raises(EdgedetError, match="holds no image") as caught:
            open_source(str(tmp_path))
        pattern = str(caught.value.fix).split("'")[1]
        assert names(pattern) == ["below/a.jpg"]

    def test_a_pattern_without_images(self, tmp_path: Path) -> None:
        write_video(tmp_path / "a.avi")
        with pytest.raises(EdgedetError, match="matches no image"):
            open_source(f"{tmp_path}/*")

    @settings(deadline=None)
    @given(st.lists(st.integers(0, 10**30), min_size=1, unique=True))
    def test_numbers_in_names_count_as_numbers(self, numbers: list[int]) -> None:
        paths = [Path(f"frame{number}b.jpg") for number in numbers]
        assert sorted(paths, key=natural_key) == [Path(f"frame{number}b.jpg") for number in sorted(numbers)]

    @settings(deadline=None)
    @given(st.lists(st.text("ab1²٣-./", min_size=1)))
    def test_any_names_can_be_sorted(self, texts: list[str]) -> None:
        assert len(sorted(map(Path, texts), key=natural_key)) == len(texts)


class TestVideo:
    @pytest.mark.parametrize("name", ["clip.mp4", "clip.avi"])
    def test_frames_in_order(self, tmp_path: Path, name: str) -> None:
        source = open_source(str(write_video(tmp_path / name)))
        assert source.video == VideoInfo(name, 12.5, is_live=False)
        frames = list(source)
        assert [frame.index for frame in frames] == list(range(6))
        assert {frame.name for frame in frames} == {name}
        assert frames[0].image.shape == (48, 64, 3)
        brightness = [float(frame.image.mean()) for frame in frames]
        np.testing.assert_allclose(brightness, [0, 40, 80, 120, 160, 200], atol=6)

    @pytest.mark.parametrize("content", [b"", b"no video", b"\x00\x00\x00\x18ftypmp42"])
    def test_what_is_no_video(self, tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "clip.mp4").write_bytes(content)
        with pytest.raises(EdgedetError, match=r"cannot be opened as a video|no frame of it"):
            names(tmp_path / "clip.mp4")
        assert "WARN" not in capfd.readouterr().err

    def test_truncated(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "clip.mp4")
        path.write_bytes(path.read_bytes()[:-400])
        with pytest.raises(EdgedetError, match="cannot be opened"):
            open_source(str(path))

    def test_left_early_it_is_released(self, tmp_path: Path) -> None:
        source = open_source(str(write_video(tmp_path / "clip.avi")))
        frames = iter(source)
        next(frames)
        frames.close()
        assert not source._capture.isOpened()


class TestCamerasAndStreams:
    """What they are called; tests/runtime/test_streams.py reads from senders. No camera is needed: the capture is
    OpenCV's, of a file."""

    @pytest.fixture
    def opened(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
        path = str(write_video(tmp_path / "clip.avi"))
        opened: list[object] = []
        video_capture = cv2.VideoCapture

        def of_the_file(source: object, *backend: object) -> cv2.VideoCapture:
            opened.append(source)
            return video_capture(path)

        monkeypatch.setattr(capture.cv2, "VideoCapture", of_the_file)
        return opened

    @pytest.mark.parametrize(("text", "source", "name"), [("0", 0, "camera0"), ("/dev/null", "/dev/null", "dev_null")])
    def test_a_number_or_a_device_file_is_a_camera(
        self, opened: list[object], text: str, source: object, name: str
    ) -> None:
        found = open_source(text)
        assert opened == [source]
        assert found.video is not None
        assert (found.video.name, found.video.is_live) == (name, True)

    @pytest.mark.parametrize(
        ("url", "name"),
        [
            ("rtsp://user:secret@10.0.0.7:554/live/main?token=secret", "10.0.0.7_554_live_main"),
            ("RTSP://camera.local/../../x", "camera.local_.._.._x"),
            ("https://user:se/cret@host/a.m3u8", "host_a.m3u8"),
            ("udp://@:5000", "5000"),
            ("tcp://", "stream"),
        ],
    )
    def test_an_address_is_opened_as_it_is_and_its_name_holds_no_secret(
        self, opened: list[object], url: str, name: str
    ) -> None:
        found = open_source(url)
        assert opened == [url]
        assert found.video is not None
        assert found.video.name == name
        assert "secret" not in network_stream(url).title

    def test_a_file_named_like_a_camera_is_a_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: list[object]
    ) -> None:
        (tmp_path / "0").touch()
        monkeypatch.chdir(tmp_path)
        open_source("0")
        assert opened == ["0"]

    @pytest.mark.parametrize(("text", "title"), [("87", "camera 87"), ("/dev/null", "camera /dev/null")])
    def test_a_camera_that_is_not_there(self, text: str, title: str, capfd: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(EdgedetError, match=f"{title} cannot be opened"):
            open_source(text)
        assert capfd.readouterr().err == ""

    def test_an_address_that_does_not_answer_is_named_without_its_password(self) -> None:
        with pytest.raises(EdgedetError, match=r"rtsp://127\.0\.0\.1:9/x cannot be opened") as caught:
            open_source("rtsp://user:secret@127.0.0.1:9/x")
        assert "secret" not in str(caught.value)

    def test_an_unknown_scheme(self) -> None:
        with pytest.raises(EdgedetError, match="unknown scheme 'htp'") as caught:
            open_source("htp://user:secret@host/x")
        assert "'http'" in str(caught.value.fix)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "nothing/here.jpg", "nothing", "-1", "١", "a\x00b"])
def test_what_does_not_exist_is_an_error_that_says_what_was_tried(text: str) -> None:
    with pytest.raises(EdgedetError) as caught:
        open_source(text)
    assert "pattern" in str(caught.value) or "holds no image" in str(caught.value)
