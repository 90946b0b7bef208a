"""Quantized masters of one model of each family, their grids fitted to noise, and how to look into them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from onnx import ModelProto, NodeProto, numpy_helper

from edgedet.graph.export import master_graph
from edgedet.graph.source import find_model
from edgedet.models.detector import Detector
from edgedet.quant.calibrate import fit_to_noise

FAMILIES = ["shufflenetv2_0.5x", "mobilenetv2_0.35", "squeezenet_1.1"]
SIDE = 64


@lru_cache(maxsize=len(FAMILIES))
def master_of(name: str) -> ModelProto:
    detector, spec = find_model(name, classes=3, size=(SIDE, SIDE))
    assert isinstance(detector, Detector)
    return master_graph(fit_to_noise(detector, spec.preprocess), spec, batch=1, dynamic_batch=False)


def constants(model: ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def activation_quantizers(model: ModelProto) -> dict[str, NodeProto]:
    """By the name of what they give, which a lowering keeps."""
    known = constants(model)
    nodes = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    return {node.output[0]: node for node in nodes if node.input[0] not in known}
