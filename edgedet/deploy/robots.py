"""A ROS 2 node and GStreamer pipelines around a bundle."""

from __future__ import annotations

from edgedet.deploy.contents import Entry
from edgedet.deploy.model import Network
from edgedet.deploy.sources import source_folder
from edgedet.deploy.targets import Target

ROS2_FILES = ("edgedet_node.py", "README.md")


def ros2_files(network: Network, target: Target) -> dict[str, Entry]:
    """A node that publishes `vision_msgs/Detection2DArray` for each `sensor_msgs/Image`."""
    scripts = source_folder() / "export/integrations/ros2"
    return {
        f"ros2/{name}": Entry((scripts / name).read_bytes(), executable=name.endswith(".py")) for name in ROS2_FILES
    }


def gstreamer_files(network: Network, target: Target) -> dict[str, Entry]:
    """Pipelines that give a program the frames of a camera or a stream, as `edgedet` and OpenCV take them."""
    lines = [
        "# Frames for a program: the last element is an appsink, of BGR frames, the oldest of which are dropped.",
        "# A pipeline is one line; try it with gst-launch-1.0 and fakesink in place of appsink.",
    ]
    lines += [f"{name}: {pipeline}" for name, pipeline in pipelines(jetson=bool(target.board.jetpacks)).items()]
    return {"gstreamer/pipelines.txt": Entry(("\n".join(lines) + "\n").encode())}


def pipelines(*, jetson: bool, width: int = 1280, height: int = 720, frames_per_second: int = 30) -> dict[str, str]:
    """By source. On a Jetson decoding and scaling are the hardware's (nvvidconv), and CSI cameras are there."""
    size = f"width={width},height={height}"
    sink = "appsink drop=true max-buffers=1 sync=false"
    to_bgr = "videoconvert ! video/x-raw,format=BGR"
    scaled = f"nvvidconv ! video/x-raw,format=BGRx,{size}" if jetson else f"videoscale ! video/x-raw,{size}"
    rate = f"framerate={frames_per_second}/1"
    decoded = f"decodebin ! {scaled} ! {to_bgr} ! {sink}"
    found = {
        "usb": f"v4l2src device=/dev/video0 ! image/jpeg,{size},{rate} ! jpegdec ! {to_bgr} ! {sink}",
        "rtsp": f"rtspsrc location=rtsp://HOST/PATH latency=100 protocols=tcp ! {decoded}",
        "file": f"filesrc location=VIDEO ! {decoded}",
    }
    if jetson:
        source = f"nvarguscamerasrc sensor-id=0 ! video/x-raw(memory:NVMM),{size},{rate}"
        found["csi"] = f"{source} ! nvvidconv ! video/x-raw,format=BGRx ! {to_bgr} ! {sink}"
    return found
