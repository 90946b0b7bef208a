"""Reads ONNX files of anyone's making."""

from __future__ import annotations

from graphlib import TopologicalSorter
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto

from edgedet.errors import EdgedetError
from edgedet.files import read_bytes
from edgedet.runtime.backends.onnxruntime import EXTERNAL_DATA_KEY, MODEL_LIMIT


def read_onnx(path: Path) -> ModelProto:
    """The model in a file, with the types and sizes of its tensors where they can be told.

    Raises:
        EdgedetError: the file is missing, too large, no ONNX, or keeps weights in other files.
    """
    data = read_bytes(path, limit=MODEL_LIMIT)
    if EXTERNAL_DATA_KEY.search(data):
        fix = "save it with its weights inside: onnx.save(onnx.load(path), path)"
        raise EdgedetError("keeps weights in other files, which are not followed", where=path, fix=fix)
    try:
        model = onnx.load_model_from_string(data)
        _sort(model.graph)
        onnx.checker.check_model(model)
        return onnx.shape_inference.infer_shapes(model)
    except (DecodeError, ValueError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise EdgedetError(
            f"not a valid ONNX model ({reason})", where=path, fix="the file may be truncated or of another kind"
        ) from error


def _sort(graph: GraphProto) -> None:
    """Puts nodes behind those that they read, as ONNX demands; ONNX Runtime also takes files in which they are not."""
    maker = {name: place for place, node in enumerate(graph.node) for name in node.output if name}
    read = {place: {maker[name] for name in node.input if name in maker} for place, node in enumerate(graph.node)}
    if all(earlier < place for place, makers in read.items() for earlier in makers):
        return
    nodes = [graph.node[place] for place in TopologicalSorter(read).static_order()]
    del graph.node[:]
    graph.node.extend(nodes)
