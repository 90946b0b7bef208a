"""OpenCV's captures: opened without a word of its own, and with a bound on how long they may be silent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from numpy.typing import NDArray

# FFmpeg would print its own remarks beside the one message of ours (-8: nothing). OpenCV reads this when it opens.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

DEFAULT_FRAMES_PER_SECOND = 30.0


def open_capture(
    source: str | int, backend: int = cv2.CAP_ANY, *, silence_seconds: float | None = None
) -> cv2.VideoCapture:
    """A capture, which may not be open: ask it.

    Args:
        source: a file, an address, a GStreamer pipeline or a camera's number.
        backend: one of OpenCV's.
        silence_seconds: opening and each read of an address give up after so long.
    """
    limits = []
    if silence_seconds is not None:
        milliseconds = max(1, round(1e3 * silence_seconds))
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds, cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds]
    with quiet_opencv():
        return cv2.VideoCapture(source, backend, limits) if limits else cv2.VideoCapture(source, backend)


def read_image(capture: cv2.VideoCapture) -> NDArray[np.uint8] | None:
    """The next frame, uint8 `[h, w, 3]` BGR; None where there is none, whatever the reason."""
    try:
        read, image = capture.read()
    except cv2.error:
        return None
    return image if read else None  # type: ignore[return-value]


def frames_per_second(capture: cv2.VideoCapture) -> float:
    """As stated, or 30 where nothing sensible is."""
    stated = capture.get(cv2.CAP_PROP_FPS)
    return stated if 1.0 <= stated <= 240.0 else DEFAULT_FRAMES_PER_SECOND


def frame_count(capture: cv2.VideoCapture) -> int:
    """How many frames it says it has; 0 of what has no end, for which OpenCV makes up a negative number."""
    return max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Keeps OpenCV from printing why a capture does not open: that is raised."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
