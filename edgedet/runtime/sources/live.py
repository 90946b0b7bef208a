"""Cameras and streams: the newest frame, however slow the reader, and back again after a loss."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2

from edgedet.errors import EdgedetError
from edgedet.runtime.sources.capture import frames_per_second
from edgedet.runtime.sources.device import Device
from edgedet.runtime.sources.frame import Frame, StreamCounts, VideoInfo
from edgedet.runtime.sources.reader import FrameReader, LiveSettings


class LiveSource:
    """The frames of a camera or stream (`edgedet.runtime.sources.Source`), read by a thread of its own.

    It ends by an error alone: a stream that stops looks the same whether it was switched off or torn off.

    Args:
        device: what is read.
        capture: of it, opened.
        settings: how it is read.
    """

    files: tuple[Path, ...] = ()

    def __init__(self, device: Device, capture: cv2.VideoCapture, settings: LiveSettings) -> None:
        self.video: VideoInfo | None = VideoInfo(device.name, frames_per_second(capture), is_live=True)
        self.skipped: list[str] = []
        self._reader = FrameReader(device, capture, settings)

    @property
    def counts(self) -> StreamCounts:
        """So far."""
        return self._reader.counts

    def __iter__(self) -> Iterator[Frame]:
        self._reader.start()
        try:
            while True:
                yield self._reader.take()
        finally:
            self._reader.stop()


def open_device(device: Device, settings: LiveSettings) -> cv2.VideoCapture:
    """An opened capture of it.

    Raises:
        EdgedetError: it cannot be opened. The first time is not tried again: the address may be wrong.
    """
    capture = device.open(settings.silence_seconds)
    if not capture.isOpened():
        raise EdgedetError(f"{device.title} cannot be opened", fix=device.fix)
    return capture
