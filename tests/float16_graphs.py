"""Lowered masters with the ranges that their targets need, and the types of their tensors."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import onnxruntime
from int8_masters import SIDE, master_of
from onnx import ModelProto, TensorProto

from edgedet.graph.metadata import read_metadata, read_spec
from edgedet.graph.scan import largest_values
from edgedet.graph.targets import TARGETS, lower, place
from edgedet.graph.verify import verification_images

FLOAT, FLOAT16 = TensorProto.FLOAT, TensorProto.FLOAT16
IMAGES = np.random.default_rng(2).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)


def ranges_for(master: ModelProto, target: str) -> dict[str, float] | None:
    """On generated images; None where the target needs none."""
    if not TARGETS[target].float16:
        return None
    return largest_values(place(master, target), read_spec(read_metadata(master)), verification_images(None))


@cache
def lowered_of(name: str, target: str) -> ModelProto:
    """The master of a family (`int8_masters.master_of`) for a target."""
    return lower(master_of(name), target, ranges_for(master_of(name), target))


def types_of(model: ModelProto) -> dict[str, int]:
    """Every tensor's element type as ONNX infers it: what the file itself says of tensors between nodes is left out."""
    bare = ModelProto()
    bare.CopyFrom(model)
    del bare.graph.value_info[:]
    graph = onnx.shape_inference.infer_shapes(bare, check_type=True, strict_mode=True).graph
    types = {value.name: value.type.tensor_type.elem_type for value in [*graph.value_info, *graph.input, *graph.output]}
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}


def emulated(model: ModelProto, images: np.ndarray = IMAGES) -> list[np.ndarray]:
    """Boxes and scores, with quantizers as nodes of their own."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(["boxes", "scores"], {"images": images})
