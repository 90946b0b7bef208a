#!/usr/bin/env python3
"""A ROS 2 node: detections of every image on a topic.

Needs rclpy, vision_msgs and edgedet, no cv_bridge. `python3 edgedet_node.py --ros-args -p model:=model.onnx`.
Subscribes to `image` (sensor_msgs/Image, bgr8, rgb8 or mono8), publishes `detections` (vision_msgs/Detection2DArray).
While one image is being looked at, newer ones replace each other: there is no queue to fall behind in.
"""

from pathlib import Path

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from edgedet.runtime.load import load_detector

CHANNELS = {"bgr8": 3, "rgb8": 3, "mono8": 1}


def pixels(message):
    """A message as uint8 BGR `[h, w, 3]`; rows may be padded to `step`."""
    if message.encoding not in CHANNELS:
        raise ValueError(f"images are {message.encoding}, not one of {', '.join(CHANNELS)}")
    channels = CHANNELS[message.encoding]
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    image = rows[:, : message.width * channels].reshape(message.height, message.width, channels)
    if message.encoding == "rgb8":
        image = image[:, :, ::-1]
    return np.ascontiguousarray(np.broadcast_to(image, (message.height, message.width, 3)))


def to_message(found, header):
    """Detections as a message: centres and sizes in pixels of the image."""
    array = Detection2DArray(header=header)
    for one in found:
        x1, y1, x2, y2 = one.xyxy
        detection = Detection2D(header=header)
        detection.bbox.center.position.x, detection.bbox.center.position.y = (x1 + x2) / 2, (y1 + y2) / 2
        detection.bbox.size_x, detection.bbox.size_y = x2 - x1, y2 - y1
        hypothesis = ObjectHypothesisWithPose()
        hypothesis.hypothesis.class_id, hypothesis.hypothesis.score = one.name, one.score
        detection.results.append(hypothesis)
        array.detections.append(detection)
    return array


class DetectorNode(Node):
    def __init__(self):
        super().__init__("edgedet")
        model = self.declare_parameter("model", "model.onnx").value
        threads = self.declare_parameter("threads", 0).value
        self.detector = load_detector(Path(model), threads=threads or None)
        self.publisher = self.create_publisher(Detection2DArray, "detections", 10)
        sensor = qos_profile_sensor_data
        sensor.depth = 1
        self.create_subscription(Image, "image", self.look, sensor)

    def look(self, message):
        try:
            (found,) = self.detector.detect([pixels(message)])
        except ValueError as error:
            self.get_logger().error(str(error), throttle_duration_sec=5.0)
            return
        self.publisher.publish(to_message(found, message.header))


def main():
    rclpy.init()
    node = DetectorNode()
    try:
        rclpy.spin(node)
    except KeyboardInterrupt:
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
