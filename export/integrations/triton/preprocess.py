"""Triton's Python backend: an image as edgedet's runtime makes it the network's input.

Input `image`: uint8 `[h, w, 3]` BGR, as OpenCV reads it. Outputs: `images` float32 `[1, 3, H, W]`, and `source_size`
int32 `[h, w]`. Everything else is in the specification, which is a parameter of the model's configuration.
"""

import json

import numpy as np
import triton_python_backend_utils as triton

from edgedet.runtime.preprocess import preprocess
from edgedet.spec import spec_from_json


class TritonPythonModel:
    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        self.spec = spec_from_json(parameters["edgedet"]["string_value"], where=args["model_name"])

    def execute(self, requests):
        return [self._respond(request) for request in requests]

    def _respond(self, request):
        try:
            image = triton.get_input_tensor_by_name(request, "image").as_numpy()
            tensor, _ = preprocess(image, self.spec.preprocess)
            size = np.array(image.shape[:2], np.int32)
        except Exception as error:  # one bad image is that request's error, not the end of the model
            return triton.InferenceResponse(error=triton.TritonError(str(error)))
        return triton.InferenceResponse([triton.Tensor("images", tensor[None]), triton.Tensor("source_size", size)])
