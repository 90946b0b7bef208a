"""The ROS 2 node's conversions, and GStreamer's pipelines."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgedet.deploy.golden import scene
from edgedet.deploy.robots import pipelines
from edgedet.deploy.sources import source_folder
from edgedet.runtime.results import Detections


class Message(SimpleNamespace):
    """Any message of ROS: fields are made when they are first asked for, as ROS's have defaults."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value: Any = [] if name in ("results", "detections") else Message()
        setattr(self, name, value)
        return value


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The node's module; ROS is not here, so its modules are empty ones."""
    for name in (
        "rclpy",
        "rclpy.node",
        "rclpy.qos",
        "sensor_msgs",
        "sensor_msgs.msg",
        "vision_msgs",
        "vision_msgs.msg",
    ):
        module = ModuleType(name)
        module.__dict__.update(defaultdict(lambda: Message, Node=object, qos_profile_sensor_data=None, Image=Message))
        for of_vision in ("Detection2D", "Detection2DArray", "ObjectHypothesisWithPose"):
            setattr(module, of_vision, Message)
        monkeypatch.setitem(sys.modules, name, module)
    found = ModuleType("edgedet_node")
    path = source_folder() / "export/integrations/ros2/edgedet_node.py"
    exec(compile(path.read_text(), path, "exec"), found.__dict__)  # noqa: S102
    return found


def message(image: np.ndarray, encoding: str, padding: int = 0) -> Message:
    height, width = image.shape[:2]
    rows = image.reshape(height, -1)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=7)
    return Message(encoding=encoding, height=height, width=width, step=padded.shape[1], data=padded.tobytes())


@pytest.mark.parametrize("padding", [0, 5])
def test_images_of_every_encoding_become_bgr(node: ModuleType, padding: int) -> None:
    image = scene(7, 11, seed=0)
    np.testing.assert_array_equal(node.pixels(message(image, "bgr8", padding)), image)
    np.testing.assert_array_equal(node.pixels(message(image[:, :, ::-1], "rgb8", padding)), image)
    grey = node.pixels(message(image[:, :, :1], "mono8", padding))
    np.testing.assert_array_equal(grey, image[:, :, [0, 0, 0]])
    assert grey.flags.c_contiguous
    with pytest.raises(ValueError, match="images are 16UC1"):
        node.pixels(message(image, "16UC1"))


def test_detections_become_centres_and_sizes(node: ModuleType) -> None:
    found = Detections(np.array([[10, 20, 40, 30]], np.float32), np.array([0.5], np.float32), np.array([1]), ("a", "b"))
    header = object()
    array = node.to_message(found, header)
    (one,) = array.detections
    assert array.header is one.header is header
    assert (one.bbox.center.position.x, one.bbox.center.position.y) == (25, 25)
    assert (one.bbox.size_x, one.bbox.size_y) == (30, 10)
    (hypothesis,) = one.results
    assert (hypothesis.hypothesis.class_id, hypothesis.hypothesis.score) == ("b", 0.5)


def test_pipelines_drop_old_frames_and_give_bgr() -> None:
    for jetson in (True, False):
        found = pipelines(jetson=jetson)
        assert ("csi" in found) == jetson
        for pipeline in found.values():
            assert "format=BGR !" in pipeline
            assert pipeline.endswith("appsink drop=true max-buffers=1 sync=false")


def test_gstreamer_plays_a_file(tmp_path: Path) -> None:
    """The pipeline for a PC, with a video made here."""
    if shutil.which("gst-launch-1.0") is None:
        pytest.skip("there is no gst-launch-1.0")
    video = tmp_path / "video.avi"
    make = f"gst-launch-1.0 -q videotestsrc num-buffers=5 ! jpegenc ! avimux ! filesink location={video}"
    if subprocess.run(make.split(), capture_output=True, timeout=60).returncode != 0:
        pytest.skip("GStreamer cannot write a video here")
    pipeline = pipelines(jetson=False)["file"].replace("VIDEO", str(video))
    pipeline = pipeline.replace("appsink drop=true max-buffers=1 sync=false", "fakesink")
    done = subprocess.run(["gst-launch-1.0", "-q", *pipeline.split()], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
