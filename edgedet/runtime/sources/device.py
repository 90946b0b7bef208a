"""What gives frames without an end: USB cameras, a Jetson's CSI cameras, network streams."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2

from edgedet.runtime.sources.capture import open_capture
from edgedet.runtime.sources.csi import CsiCamera, csi_pipeline, require_gstreamer

SCHEMES = ("rtsp", "rtsps", "rtmp", "http", "https", "udp", "tcp", "srt")


@dataclass(frozen=True)
class Device:
    """A camera or stream, and how it is opened; again and again, where it is lost.

    Attributes:
        name: for files that are made of it.
        title: for messages, without secrets.
        open: takes the seconds after which silence counts as an end, and gives a capture that may not be open. Of
            cameras their driver's own bound holds.
        fix: what to do where it does not open.
    """

    name: str
    title: str
    open: Callable[[float], cv2.VideoCapture]
    fix: str


def usb_camera(index: int) -> Device:
    """The camera with that number."""
    fix = f"`ls /dev/video*` lists cameras; another program may hold it; a file of that name is given as ./{index}"
    return Device(f"camera{index}", f"camera {index}", lambda _: _newest(open_capture(index)), fix)


def usb_camera_file(path: Path) -> Device:
    """The camera that the kernel shows as that device file, `/dev/video0` or a link to it."""

    def open_it(_: float) -> cv2.VideoCapture:
        return _newest(open_capture(str(path), cv2.CAP_V4L2))

    fix = "`ls /dev/video*` lists cameras; another program may hold it; a camera may have a second file without images"
    return Device(_file_name(str(path)), f"camera {path}", open_it, fix)


def csi_camera(camera: CsiCamera) -> Device:
    """A camera on a Jetson's CSI connector.

    Raises:
        EdgedetError: this OpenCV has no GStreamer.
    """
    require_gstreamer()
    pipeline = csi_pipeline(camera)
    fix = "`ls /dev/video*` lists what is connected; sudo systemctl restart nvargus-daemon frees a camera that hangs"

    def open_it(_: float) -> cv2.VideoCapture:
        # No bound on silence: asked for one, OpenCV before 4.7 opens no pipeline (opencv/opencv#22919).
        return open_capture(pipeline, cv2.CAP_GSTREAMER)

    return Device(f"csi{camera.sensor}", f"CSI camera {camera.sensor}", open_it, fix)


def network_stream(url: str) -> Device:
    """What an address gives."""
    title = without_credentials(url)

    def open_it(silence_seconds: float) -> cv2.VideoCapture:
        return open_capture(url, silence_seconds=silence_seconds)

    fix = "check address, user and password, and that this machine reaches it"
    return Device(_file_name(title.partition("://")[2]), title, open_it, fix)


def without_credentials(url: str) -> str:
    """The address without user, password and query, which may hold secrets."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.partition('?')[0].rpartition('@')[2]}"


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "_", text).strip("_.") or "stream"


def _newest(capture: cv2.VideoCapture) -> cv2.VideoCapture:
    """Asks the driver for the newest frame, not one that waited."""
    if capture.isOpened():
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return capture
