"""Video files, cameras and network streams, through OpenCV."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from edgedet.errors import EdgedetError
from edgedet.runtime.sources.frame import Frame, VideoInfo

# FFmpeg would print its own remarks beside the one message of ours (-8: nothing). OpenCV reads this when it opens.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

SCHEMES = ("rtsp", "rtsps", "rtmp", "http", "https", "udp", "tcp", "srt")
DEFAULT_FRAMES_PER_SECOND = 30.0


class VideoSource:
    """The frames of an opened capture (`edgedet.runtime.sources.Source`); it is released at the end.

    Args:
        capture: opened.
        video: what is known of it.
        files: the file it reads, if any.
    """

    def __init__(self, capture: cv2.VideoCapture, video: VideoInfo, files: tuple[Path, ...] = ()) -> None:
        self.video: VideoInfo | None = video
        self.files = files
        self.skipped: list[str] = []
        self._capture = capture
        self._name = video.name

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        try:
            while True:
                read, image = self._capture.read()
                if not read:
                    break
                yield Frame(image, self._name, index)  # type: ignore[arg-type]
                index += 1
        finally:
            self._capture.release()
        if index == 0:
            raise EdgedetError("no frame of it can be decoded", where=self._name, fix="check that it plays elsewhere")


def video_file(path: Path) -> VideoSource:
    """A video file."""
    with _quiet_opencv():
        capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise EdgedetError(
            "cannot be opened as a video",
            where=path,
            fix="it may be truncated or of an unknown kind: check that it plays elsewhere",
        )
    return VideoSource(capture, VideoInfo(path.name, _frames_per_second(capture), is_live=False), (path,))


def camera(index: int) -> VideoSource:
    """The camera with that number, until interrupted."""
    with _quiet_opencv():
        capture = cv2.VideoCapture(index)
    if not capture.isOpened():
        raise EdgedetError(
            f"camera {index} cannot be opened",
            fix="`ls /dev/video*` lists cameras; another program may hold it; a file of that name is given as ./"
            f"{index}",
        )
    return _live(capture, f"camera{index}")


def stream(url: str) -> VideoSource:
    """A network stream, until it ends or is interrupted."""
    with _quiet_opencv():
        capture = cv2.VideoCapture(url)
    if not capture.isOpened():
        raise EdgedetError(
            "the stream cannot be opened",
            where=without_credentials(url),
            fix="check address, user and password, and that this machine reaches it",
        )
    return _live(capture, re.sub(r"[^\w.-]+", "_", without_credentials(url).partition("://")[2]).strip("_."))


def without_credentials(url: str) -> str:
    """The address without user, password and query, which may hold secrets."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.partition('?')[0].rpartition('@')[2]}"


def _live(capture: cv2.VideoCapture, name: str) -> VideoSource:
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame, not one that waited
    return VideoSource(capture, VideoInfo(name, _frames_per_second(capture), is_live=True))


def _frames_per_second(capture: cv2.VideoCapture) -> float:
    stated = capture.get(cv2.CAP_PROP_FPS)
    return stated if 1.0 <= stated <= 240.0 else DEFAULT_FRAMES_PER_SECOND


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Keeps OpenCV from printing why a capture does not open: that is raised."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
