"""A Jetson's CSI cameras: what is asked for. None of this has run on such a camera."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from edgedet.errors import EdgedetError
from edgedet.runtime.sources import open_source
from edgedet.runtime.sources.csi import CsiCamera, csi_pipeline, read_csi_address, require_gstreamer


@pytest.mark.parametrize(
    ("text", "camera"),
    [
        ("csi:0", CsiCamera()),
        ("csi://1", CsiCamera(sensor=1)),
        ("CSI://2?width=1920&height=1080&fps=60&flip=2", CsiCamera(sensor=2, width=1920, height=1080, fps=60, flip=2)),
        ("rtsp://csi:0", None),
        ("csi", None),
    ],
)
def test_addresses(text: str, camera: CsiCamera | None) -> None:
    assert read_csi_address(text) == camera


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("csi:", "not the address"),
        ("csi:one", "not the address"),
        ("csi:0 ! filesink location=x", "not the address"),
        ("csi://0?width", "not the address"),
        ("csi://0?widht=640", "width"),
        ("csi://0?width=0", "width"),
        ("csi://0?width=640!fakesink", "width"),
        ("csi://0?fps=1e9", "fps"),
        ("csi://0?sensor=1&flip=9", "flip"),
    ],
)
def test_wrong_addresses_never_reach_the_pipeline(text: str, message: str) -> None:
    with pytest.raises(EdgedetError, match=message):
        read_csi_address(text)


def test_the_pipeline_asks_for_what_the_address_says() -> None:
    parts = csi_pipeline(CsiCamera(sensor=1, width=1920, height=1080, fps=60, flip=2)).split(" ! ")
    assert parts[0] == "nvarguscamerasrc sensor-id=1"
    assert parts[1] == "video/x-raw(memory:NVMM), width=1920, height=1080, framerate=60/1, format=NV12"
    assert parts[2] == "nvvidconv flip-method=2"
    assert parts[-1].startswith("appsink drop=true")


@pytest.mark.skipif(shutil.which("gst-launch-1.0") is None, reason="gst-launch-1.0 is not installed")
def test_gstreamer_understands_the_pipeline() -> None:
    """With the parts that Jetsons alone have replaced by a test picture of the same size."""
    pipeline = csi_pipeline(CsiCamera(width=64, height=48))
    pipeline = pipeline.replace("nvarguscamerasrc sensor-id=0", "videotestsrc num-buffers=3 ! videoconvert")
    pipeline = (
        pipeline.replace("appsink drop=true max-buffers=1", "fakesink")
        .replace("(memory:NVMM)", "")
        .replace("nvvidconv flip-method=0", "videoconvert")
    )
    assert "nv" not in pipeline.replace("videoconvert", "").lower().replace("format=nv12", "")
    result = subprocess.run(["gst-launch-1.0", "-q", *pipeline.split()], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")


def test_an_opencv_without_gstreamer_is_named() -> None:
    with pytest.raises(EdgedetError, match="built without it") as caught:
        require_gstreamer("  Video I/O:\n    FFMPEG:          YES\n    GStreamer:       NO\n")
    assert "libopencv-python" in str(caught.value.fix)
    require_gstreamer("  Video I/O:\n    GStreamer:                   YES (1.20.3)\n")


def test_from_an_address_to_a_message() -> None:
    """This OpenCV has no GStreamer, as on PyPI, or it has and no such camera."""
    with pytest.raises(EdgedetError, match=re.compile("GStreamer|CSI camera 0 cannot be opened")):
        open_source("csi:0")
