"""The tensors of an ONNX file, computed by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, helper
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgedet.errors import EdgedetError
from edgedet.graph.comparison.points import Point, points_of
from edgedet.graph.comparison.segments import Segments, values_read
from edgedet.graph.lowerings.cut_codes import rounder_of
from edgedet.graph.lowerings.editing import input_of
from edgedet.runtime.backends.onnxruntime import DTYPES, cannot_run, open_session

Array = NDArray[Any]


class OnnxValues:
    """A file (`edgedet.graph.comparison.values.Values`).

    Args:
        model: of one input, with the types of its tensors.
        path: named where something is wrong.

    Attributes:
        input: the network's input.
    """

    def __init__(self, model: ModelProto, path: Path) -> None:
        self.engine = f"onnxruntime {onnxruntime.__version__}"
        graph = ir.from_proto(model).graph
        self.input = _only_input(graph, path)
        self.points = points_of(graph)
        self.before = Segments(graph, self.points)
        self._model, self._path = model, path
        # ONNX Runtime rounds the biases of such convolutions to integers that it divides out in float16: those beyond
        # 65504 are infinite. In earnest it refuses the kernels that it makes of them and keeps the quantizers too.
        self._keep_quantizers = any(point.half and point.codes is not None for point in self.points)
        self._observed: dict[tuple[str, ...], Any] = {}
        self._cut: dict[tuple[str, ...], tuple[Any, dict[str, str]]] = {}

    def run(self, images: Array, wanted: Sequence[Point]) -> dict[str, Array]:
        """As the file is run in earnest: the integers of quantized tensors are looked at, so kernels stay integer."""
        names = tuple(point.codes or point.name for point in wanted)
        if names not in self._observed:
            self._observed[names] = self._session(_looked_at(self._model, names), optimize=True)
        results = _run(self._observed[names], names, {self.input.name or "": images})
        return {
            point.name: result if point.grid is None else point.grid.values(result)
            for point, result in zip(wanted, results, strict=True)
        }

    def recompute(self, images: Array, given: Mapping[str, Array]) -> dict[str, Array]:
        """Node by node, without what ONNX Runtime's optimizer makes of the graph."""
        names = tuple(given)
        if names not in self._cut:
            model, read_from = _cut(self._model, [point for point in self.points if point.name in given])
            self._cut[names] = self._session(model, optimize=False), read_from
        session, read_from = self._cut[names]
        feeds = {self.input.name or "": images, **{_given(name): values for name, values in given.items()}}
        outputs = [output.name for output in session.get_outputs()]
        found = dict(zip(outputs, _run(session, outputs, feeds), strict=True))
        return {name: found[source] if source in found else feeds[source] for name, source in read_from.items()}

    def _session(self, model: ModelProto, *, optimize: bool) -> Any:
        data = model.SerializeToString()
        return open_session(data, self._path, optimize=optimize, keep_quantizers=self._keep_quantizers)


def _only_input(graph: ir.Graph, path: Path) -> ir.Value:
    inputs = [value for value in graph.inputs if value.name not in graph.initializers]
    if len(inputs) != 1 or inputs[0].dtype not in (ir.DataType.FLOAT, ir.DataType.FLOAT16) or inputs[0].shape is None:
        found = ", ".join(f"{value.name} ({value.dtype})" for value in inputs) or "none"
        raise EdgedetError(f"does not have one input of floats, but {found}", where=path)
    return inputs[0]


def _looked_at(model: ModelProto, names: Collection[str]) -> ModelProto:
    """A copy that gives the named tensors too."""
    result = ModelProto()
    result.CopyFrom(model)
    known = {value.name: value for value in result.graph.value_info}
    there = {value.name for value in result.graph.output}
    result.graph.output.extend(
        known.get(name) or helper.make_empty_tensor_value_info(name) for name in names if name not in there
    )
    return result


def _cut(model: ModelProto, points: Collection[Point]) -> tuple[ModelProto, dict[str, str]]:
    """A copy in which the readers of each point read an input of the graph instead.

    Returns:
        the copy, and by the points' names the output or input that holds the point before it is rounded.
    """
    result = ir.from_proto(model)
    graph = result.graph
    values: dict[str | None, ir.Value] = {value.name: value for node in graph for value in node.outputs}
    graph.outputs.clear()
    for point in points:
        if point.moved:
            continue  # in another order than its readers take it in
        read = values_read(point, values)
        given = ir.Value(name=_given(point.name), type=read[0].type, shape=read[0].shape)
        uses = [use for value in read for use in value.uses()]
        for node, position in uses:
            node.replace_input_with(position, given)
        if uses:
            graph.inputs.append(given)
    sources: dict[str, ir.Value] = {}
    for point in points:
        sources[point.name] = values[point.name]
        rounder = None if point.codes is None else rounder_of(values[point.codes])
        if rounder is not None and rounder.op_type == "QuantizeLinear":
            sources[point.name] = input_of(rounder, 0)
    graph.outputs.extend(dict.fromkeys(value for value in sources.values() if value.producer() is not None))
    RemoveUnusedNodesPass()(result)
    return ir.to_proto(result), {name: value.name or "" for name, value in sources.items()}


def _given(name: str) -> str:
    return f"{name} as given"


def _run(session: Any, outputs: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
    """Feeds what the session has inputs for, each in its input's type."""
    types = {tensor.name: DTYPES.get(tensor.type, np.float32) for tensor in session.get_inputs()}
    try:
        results = session.run(list(outputs), {name: feeds[name].astype(type_) for name, type_ in types.items()})
    except Exception as error:  # ONNX Runtime's exceptions share no base class below Exception
        raise cannot_run(error) from error
    return [np.asarray(result) for result in results]
