"""A Jetson's CSI cameras: `csi:0`, `csi://0?width=1280&height=720&fps=30&flip=2`.

Source: NVIDIA, "Accelerated GStreamer" (Jetson Linux Developer Guide): nvarguscamerasrc, nvvidconv. No test of this
project has run on such a camera.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

import cv2
from pydantic import Field

from edgedet.config import Frozen, parse
from edgedet.errors import EdgedetError

ADDRESS = re.compile(r"csi:(?://)?(\d{1,2})(?:\?(.*))?", re.IGNORECASE | re.ASCII)


class CsiCamera(Frozen):
    """What is asked of a CSI camera.

    Attributes:
        sensor: its number, from 0.
        width, height: of its frames, in pixels; the camera takes the nearest mode it has.
        fps: frames a second.
        flip: nvvidconv's flip-method: 0 as it is, 2 upside down.
    """

    sensor: int = Field(default=0, ge=0, le=99)
    width: int = Field(default=1280, ge=16, le=16384)
    height: int = Field(default=720, ge=16, le=16384)
    fps: int = Field(default=30, ge=1, le=240)
    flip: int = Field(default=0, ge=0, le=7)


def read_csi_address(text: str) -> CsiCamera | None:
    """The camera that the text names; None where it is no such address.

    Raises:
        EdgedetError: a setting is unknown, or out of its range.
    """
    if not text.lower().startswith("csi:"):
        return None
    found = ADDRESS.fullmatch(text)
    try:
        settings = dict(parse_qsl(found[2] or "", strict_parsing=bool(found[2]))) if found else None
    except ValueError:
        settings = None
    if found is None or settings is None:
        fix = "write csi:0, or csi://0?width=1280&height=720&fps=30&flip=2"
        raise EdgedetError("not the address of a CSI camera", where=text, fix=fix)
    numbers = {name: int(value) if value.isascii() and value.isdecimal() else value for name, value in settings.items()}
    return parse(CsiCamera, {**numbers, "sensor": int(found[1])}, where=text)


def csi_pipeline(camera: CsiCamera) -> str:
    """The pipeline of GStreamer: the image processor's frames, as BGR, the newest alone."""
    memory = f"width={camera.width}, height={camera.height}, framerate={camera.fps}/1, format=NV12"
    return " ! ".join(
        (
            f"nvarguscamerasrc sensor-id={camera.sensor}",
            f"video/x-raw(memory:NVMM), {memory}",
            f"nvvidconv flip-method={camera.flip}",
            "video/x-raw, format=BGRx",
            "videoconvert",
            "video/x-raw, format=BGR",
            "appsink drop=true max-buffers=1 sync=false",
        )
    )


def require_gstreamer(build_information: str | None = None) -> None:
    """Raises EdgedetError where OpenCV was built without GStreamer, as the wheels on PyPI are.

    Args:
        build_information: what OpenCV says of itself; None asks it.
    """
    written = cv2.getBuildInformation() if build_information is None else build_information
    if re.search(r"^ *GStreamer: *YES", written, re.MULTILINE) is None:
        raise EdgedetError(
            f"a CSI camera is read through GStreamer, and this OpenCV ({cv2.__version__}) was built without it",
            fix="on a Jetson use JetPack's OpenCV (apt install libopencv-python, in an environment with "
            "--system-site-packages and without opencv-python-headless), or build OpenCV with -D WITH_GSTREAMER=ON",
        )
