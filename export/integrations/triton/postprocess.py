"""Triton's Python backend: what the network gives, as edgedet's runtime makes detections of it.

Inputs: the network's outputs, and `source_size` int32 `[h, w]`. Outputs: `detection_boxes` float32 `[n, 4]` xyxy in
pixels of the source image, `detection_scores` float32 `[n]`, `detection_classes` int32 `[n]`, best first.
"""

import json

import numpy as np
import triton_python_backend_utils as triton

from edgedet.boxes import letterbox
from edgedet.runtime.backend import TensorInfo
from edgedet.runtime.detector import Detector
from edgedet.spec import spec_from_json

TYPES = {"TYPE_FP32": np.float32, "TYPE_INT32": np.int32}


class OutsideNetwork:
    """The network as edgedet's runtime knows one; Triton runs it."""

    name = "Triton"
    settings = {}

    def __init__(self, spec, outputs):
        size = spec.preprocess
        self.inputs = (TensorInfo("images", (1, 3, size.height, size.width), np.dtype(np.float32)),)
        self.outputs = outputs

    def run(self, feeds):
        raise NotImplementedError

    def bind(self, feeds):
        raise NotImplementedError


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        spec = spec_from_json(config["parameters"]["edgedet"]["string_value"], where=args["model_name"])
        outputs = tuple(
            TensorInfo(tensor["name"], tuple(tensor["dims"]), np.dtype(TYPES[tensor["data_type"]]))
            for tensor in config["input"]
            if tensor["name"] != "source_size"
        )
        self.detector = Detector(OutsideNetwork(spec, outputs), spec)

    def execute(self, requests):
        return [self._respond(request) for request in requests]

    def _respond(self, request):
        try:
            outputs = {
                tensor.name: triton.get_input_tensor_by_name(request, tensor.name).as_numpy()
                for tensor in self.detector.backend.outputs
            }
            height, width = triton.get_input_tensor_by_name(request, "source_size").as_numpy().tolist()
            size = self.detector.spec.preprocess
            box = letterbox(height, width, size.height, size.width)
            (found,) = self.detector.postprocess(outputs, [box])
        except Exception as error:  # one bad image is that request's error, not the end of the model
            return triton.InferenceResponse(error=triton.TritonError(str(error)))
        return triton.InferenceResponse(
            [
                triton.Tensor("detection_boxes", found.xyxy.astype(np.float32)),
                triton.Tensor("detection_scores", found.score.astype(np.float32)),
                triton.Tensor("detection_classes", found.class_id.astype(np.int32)),
            ]
        )
