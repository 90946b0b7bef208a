"""Video files, through OpenCV: every frame, in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2

from edgedet.errors import EdgedetError
from edgedet.runtime.sources.capture import frames_per_second, open_capture, read_image
from edgedet.runtime.sources.frame import Frame, SourceLostError, StreamCounts, VideoInfo

COMPLETE_SHARE = 0.9
"""Headers of some files state some more frames than there are."""


class VideoSource:
    """The frames of an opened capture (`edgedet.runtime.sources.Source`); it is released at the end.

    Args:
        capture: opened.
        video: what is known of it.
        files: the file it reads, if any.
        expected: how many frames it says it has; None asks for no number.
    """

    counts: StreamCounts | None = None

    def __init__(
        self, capture: cv2.VideoCapture, video: VideoInfo, files: tuple[Path, ...] = (), expected: int | None = None
    ) -> None:
        self.video: VideoInfo | None = video
        self.files = files
        self.skipped: list[str] = []
        self._capture, self._expected = capture, expected
        self._name = video.name

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        try:
            while (image := read_image(self._capture)) is not None:
                yield Frame(image, self._name, index)
                index += 1
        finally:
            self._capture.release()
        if index == 0:
            raise EdgedetError("no frame of it can be decoded", where=self._name, fix="check that it plays elsewhere")
        if self._expected is not None and index < COMPLETE_SHARE * self._expected:
            raise SourceLostError(
                f"it ended after {index} of about {self._expected} frames",
                where=self._name,
                fix="check the network, or download it first",
            )


def video_file(path: Path) -> VideoSource:
    """A video file."""
    capture = open_capture(str(path))
    if not capture.isOpened():
        raise EdgedetError(
            "cannot be opened as a video",
            where=path,
            fix="it may be truncated or of an unknown kind: check that it plays elsewhere",
        )
    return VideoSource(capture, VideoInfo(path.name, frames_per_second(capture), is_live=False), (path,))
