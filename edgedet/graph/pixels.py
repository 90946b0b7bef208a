"""Normalisation inside the graph, for programs that give pixels as they are.

DeepStream's nvinfer knows one factor for all channels, while a specification has a standard deviation for each. So
nvinfer is told to change nothing, and the graph does the whole of `(pixel / 255 - mean) / std`.
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgedet.spec import Preprocess

INPUT = "images"
PIXELS = "pixels"


def takes_pixels(model: ModelProto, preprocess: Preprocess) -> ModelProto:
    """A copy whose input `pixels` is RGB as it is, float32 `[B, 3, H, W]` of 0 to 255, instead of `images`.

    One multiplication and one addition a value, in float32: within three steps of its last place of the table that
    edgedet's own runtime looks values up in.
    """
    mean, std = (np.array(values, np.float64).reshape(1, 3, 1, 1) for values in (preprocess.mean, preprocess.std))
    result = ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    (given,) = [value for value in graph.input if value.name == INPUT]
    given.name = PIXELS
    constants = {"pixels/scale": 1 / (255 * std), "pixels/shift": -mean / std}
    graph.initializer.extend(
        numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()
    )
    scaled = helper.make_node("Mul", [PIXELS, "pixels/scale"], ["pixels/scaled"], name="pixels/Mul")
    shifted = helper.make_node("Add", ["pixels/scaled", "pixels/shift"], [INPUT], name="pixels/Add")
    graph.node.insert(0, scaled)
    graph.node.insert(1, shifted)
    dims = [dim.dim_param or dim.dim_value for dim in given.type.tensor_type.shape.dim]
    for name in ("pixels/scaled", INPUT):
        graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))
    return result


def pixels_file(data: bytes, preprocess: Preprocess) -> bytes:
    """`takes_pixels` on the bytes of an ONNX file."""
    return takes_pixels(ModelProto.FromString(data), preprocess).SerializeToString(deterministic=True)
