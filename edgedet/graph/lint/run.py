"""Runs the rules on a graph."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
from onnx import ModelProto

from edgedet.errors import unknown_value
from edgedet.graph.lint.convolutions import depthwise_widths, float_convolutions, saturating_sums
from edgedet.graph.lint.finding import Finding
from edgedet.graph.lint.grids import concat_scales, two_quantizers
from edgedet.graph.lint.islands import float_islands
from edgedet.graph.lint.profile import ran_in_integer
from edgedet.graph.lint.quantized_graph import QuantizedGraph
from edgedet.graph.reading import read_onnx

ONNX_RUNTIME, TENSORRT = "onnxruntime", "tensorrt"
RUNTIMES = (ONNX_RUNTIME, TENSORRT)


def lint_file(path: Path, *, runtime: str = ONNX_RUNTIME) -> list[Finding]:
    """What keeps a quantized file from being fast or right; `lint_graph` on a path."""
    return lint_graph(read_onnx(path), runtime=runtime)


def lint_graph(model: ModelProto, *, runtime: str = ONNX_RUNTIME) -> list[Finding]:
    """What keeps a quantized graph from being fast on a runtime, or right on each of its CPUs.

    Args:
        model: an ONNX model of anyone's making, with the types of its tensors; float ones have no findings.
        runtime: one of `RUNTIMES`. For ONNX Runtime the graph is run and profiled on this machine's CPU; TensorRT is
            not run.

    Raises:
        EdgedetError: ONNX Runtime cannot run the model.
    """
    if runtime not in RUNTIMES:
        raise unknown_value("runtime", runtime, RUNTIMES, where="--runtime")
    graph = QuantizedGraph(ir.from_proto(model).graph)
    found = list[Finding]()
    if runtime == ONNX_RUNTIME and graph.quantized_products():
        found += saturating_sums(graph)
        found += float_convolutions(graph, {graph.nodes[place] for place in ran_in_integer(model)})
    found += float_islands(graph, sums_fuse=runtime == TENSORRT)
    found += two_quantizers(graph)
    found += concat_scales(graph)
    found += depthwise_widths(graph)
    return found
