"""From what a user wrote to a source."""

from __future__ import annotations

from glob import has_magic
from pathlib import Path

from edgedet.data import images as image_files
from edgedet.errors import EdgedetError, unknown_value
from edgedet.runtime.sources.capture import frame_count, frames_per_second
from edgedet.runtime.sources.csi import read_csi_address
from edgedet.runtime.sources.device import (
    SCHEMES,
    Device,
    csi_camera,
    network_stream,
    usb_camera,
    usb_camera_file,
    without_credentials,
)
from edgedet.runtime.sources.frame import Source, VideoInfo
from edgedet.runtime.sources.images import image_file, image_folder, image_pattern
from edgedet.runtime.sources.live import LiveSource, open_device
from edgedet.runtime.sources.reader import LiveSettings
from edgedet.runtime.sources.video import VideoSource, video_file

DEFAULT_SETTINGS = LiveSettings()


def open_source(text: str, settings: LiveSettings = DEFAULT_SETTINGS) -> Source:
    """The source that `text` names.

    An existing file or folder is taken first, then a camera (`0`, `/dev/video0`, `csi:0`), an address (`rtsp://...`,
    `http://...`), and a pattern (`photos/**/*.jpg`). A file that is no image by its suffix is opened as a video; so
    is an address of something that has an end.

    Args:
        text: what a user wrote.
        settings: of cameras and streams.

    Raises:
        EdgedetError: nothing is there, or it cannot be opened.
    """
    if not text:
        raise EdgedetError("no source named", fix="name a file, folder, pattern, camera number or address")
    path = Path(text)
    if path.is_dir():
        return image_folder(path)
    if path.is_file():
        return image_file(path) if path.suffix.lower() in image_files.SUFFIXES else video_file(path)
    if text.isascii() and text.isdecimal():
        return _camera(usb_camera(int(text)), settings)
    if path.is_char_device():
        return _camera(usb_camera_file(path), settings)
    csi = read_csi_address(text)
    if csi is not None:
        return _camera(csi_camera(csi), settings)
    scheme, separator, _ = text.partition("://")
    if separator:
        if scheme.lower() not in SCHEMES:
            raise unknown_value("scheme", scheme, [*SCHEMES, "csi"], where=without_credentials(text))
        return _address(network_stream(text), settings)
    if has_magic(text):
        return image_pattern(text)
    raise EdgedetError(
        "no such source: it is no file, folder, pattern (*, ?, **), camera (0, /dev/video0, csi:0) or address (rtsp://, http://)",
        where=text,
        fix="check the path",
    )


def _camera(device: Device, settings: LiveSettings) -> LiveSource:
    return LiveSource(device, open_device(device, settings), settings)


def _address(device: Device, settings: LiveSettings) -> Source:
    """What has an end is a file that somebody serves: each of its frames counts."""
    capture = open_device(device, settings)
    frames = frame_count(capture)
    if frames > 0:
        info = VideoInfo(device.name, frames_per_second(capture), is_live=False)
        return VideoSource(capture, info, expected=frames)
    return LiveSource(device, capture, settings)
