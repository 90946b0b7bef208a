"""How large a graph's tensors become on images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto

from edgedet.graph.verify import Images
from edgedet.runtime.preprocess import preprocess
from edgedet.spec import Spec

SUFFIX = "/largest"


def largest_values(model: ModelProto, spec: Spec, images: Images) -> dict[str, float]:
    """The largest absolute value of every float tensor that is no constant, by name, on images; on ONNX Runtime.

    Args:
        model: with an input `images` of a fixed or free batch size.
        spec: how an image becomes the input.
        images: what to run it on.
    """
    session = onnxruntime.InferenceSession(
        _reduced(model).SerializeToString(), _options(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    batch = session.get_inputs()[0].shape[0]
    runs = [session.run(names, {"images": tensor}) for tensor in _inputs(spec, images, batch)]
    peaks = np.max(np.array(runs, np.float32), axis=0)
    return {name.removesuffix(SUFFIX): float(peak) for name, peak in zip(names, peaks, strict=True)}


def _reduced(model: ModelProto) -> ModelProto:
    """The graph with those numbers as its only outputs: tensors themselves would all stay in memory."""
    reduced = ir.from_proto(model)
    graph = reduced.graph
    tensors = [*graph.inputs, *(value for node in graph for value in node.outputs)]
    graph.outputs.clear()
    for tensor in tensors:
        if tensor.dtype == ir.DataType.FLOAT:
            size = ir.node("Abs", [tensor], name=f"{tensor.name}/Abs")
            largest = ir.node("ReduceMax", [size.outputs[0]], attributes={"keepdims": 0}, name=f"{tensor.name}/Max")
            size.outputs[0].name = f"{tensor.name}/absolute"
            largest.outputs[0].name = f"{tensor.name}{SUFFIX}"
            largest.outputs[0].type, largest.outputs[0].shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([])
            graph.extend([size, largest])
            graph.outputs.append(largest.outputs[0])
    return ir.to_proto(reduced)


def _options() -> onnxruntime.SessionOptions:
    """Without optimization: it could leave out tensors between nodes."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return options


def _inputs(spec: Spec, images: Images, batch: int | str) -> Iterator[NDArray[np.float32]]:
    """The images in batches; what is left over of the last one is its last image again."""
    size = batch if isinstance(batch, int) else 1
    for start in range(0, len(images.images), size):
        chosen = [images.images[min(start + row, len(images.images) - 1)] for row in range(size)]
        yield np.stack([preprocess(image, spec.preprocess)[0] for image in chosen])
