"""The layers of a TensorRT engine."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgedet.bench.layers.exported import exported_costs
from edgedet.bench.layers.measuring import median_run_ms, picture_tensor
from edgedet.bench.layers.table import Layer, LayerTable, layer_table
from edgedet.engine.inspect import layers as inspected
from edgedet.engine.inspect.nodes import is_quantizer, is_weight, nodes_of
from edgedet.engine.inspect.reading import read_engine_information
from edgedet.runtime.backends.tensorrt import load
from edgedet.runtime.detector import Detector

if TYPE_CHECKING:
    from edgedet.graph.costs import NodeCost

PROVIDER = "TensorRT"
NO_SOURCE = "no MACs: the ONNX file that the engine was built of is not given"
BITS: Mapping[str, int] = {
    "FP64": 64,
    "FP32": 32,
    "FP16": 16,
    "BF16": 16,
    "FP8": 8,
    "FP4": 4,
    "INT64": 64,
    "INT32": 32,
    "INT16": 16,
    "INT8": 8,
    "INT4": 4,
    "UINT8": 8,
    "BOOL": 8,
}
"""Of one element, by the names in `edgedet.engine.inspect.formats.DATATYPES`."""


def profile_engine(
    engine: Path,
    *,
    source: Path | None = None,
    runs: int = 50,
    warmup: int = 5,
    image: Path | None = None,
    operators: Path | None = None,
    force: bool = False,
    allow_code: bool = False,
) -> LayerTable:
    """Times every layer of an engine. The device's peak is not measured.

    Args:
        engine: that edgedet built.
        source: the ONNX file that it was built of, for MACs and the bytes of weights.
        runs: that are timed, without a CUDA graph: TensorRT's profiler takes none.
        warmup: runs before them.
        image: what is detected in; None generates one of 640x480.
        operators, force, allow_code: as of `edgedet.runtime.backends.tensorrt.load`.

    Raises:
        EdgedetError: a file cannot be read, the engine is not for this machine, or it cannot be run.
        ModuleNotFoundError: TensorRT's Python module is not installed.
    """
    backend, spec = load(engine, operators=operators, force=force, allow_code=allow_code)
    detector = Detector(backend, spec)
    tensor = picture_tensor(detector, image)
    whole_run_ms = median_run_ms(detector, tensor, runs=runs, warmup=warmup)
    samples: dict[str, list[float]] = {}
    for _ in range(runs):
        for name, milliseconds in backend.layer_times({backend.inputs[0].name: tensor}, runs=1).items():
            samples.setdefault(name, []).append(milliseconds)
    information = read_engine_information(backend.information(), where=engine)
    costs, notes = (None, (NO_SOURCE,)) if source is None else exported_costs(source, batch=len(tensor))
    return layer_table(
        backend.name,
        engine_layers(samples, information, costs),
        runs=runs,
        whole_run_ms=whole_run_ms,
        graph_macs=None if costs is None else sum(cost.macs for cost in costs),
        notes=notes,
    )


def engine_layers(
    samples: Mapping[str, Sequence[float]], engine: inspected.Engine, costs: Sequence[NodeCost] | None
) -> list[Layer]:
    """The layers that TensorRT timed, with what its inspector and the ONNX file say of them.

    Args:
        samples: milliseconds of each run by the layer's name, in the order in which they run.
        engine: what the inspector says; layers that it leaves out are known by their names alone.
        costs: of the nodes of the ONNX file; None where it is not known.
    """
    by_name = {layer.name: layer for layer in reversed(engine.layers)}
    by_node = {cost.name: cost for cost in costs or ()}
    counted = set[str]()
    layers = []
    for name, milliseconds in samples.items():
        layer = by_name.get(name) or inspected.Layer(name, nodes=nodes_of(name, ""))
        known = [node for node in layer.nodes if not is_weight(node) and not is_quantizer(node)]
        named = [by_node[node] for node in known if node in by_node]
        # A copy in front of a convolution may name it too.
        products = [node for node in named if node.macs and layer.computes and node.name not in counted]
        counted.update(node.name for node in products)
        others = [node for node in known if node not in {product.name for product in products}]
        layers.append(
            Layer(
                name=name,
                kind=layer.kind,
                milliseconds=statistics.median(milliseconds),
                mean_ms=statistics.mean(milliseconds),
                macs=None if costs is None else sum(node.macs for node in products),
                bytes=_moved_bytes(layer, None if costs is None else sum(node.weights for node in products)),
                precision=layer.precision,
                provider=PROVIDER,
                nodes=(*(node.name for node in products), *others),
                shape=layer.outputs[0].dimensions if layer.outputs else None,
            )
        )
    return layers


def _moved_bytes(layer: inspected.Layer, weights: int | None) -> int | None:
    """Bytes read and written, without what layouts pad; None where a size, a type or the weights are not known.

    Args:
        layer: as the inspector tells it.
        weights: how many it reads, in its precision; None where the ONNX file is not known.
    """
    if weights is None and layer.computes:
        return None
    sizes = [_tensor_bytes(tensor.dimensions, tensor.datatype) for tensor in (*layer.inputs, *layer.outputs)]
    if weights:
        sizes.append(_tensor_bytes((weights,), layer.precision))
    known = [size for size in sizes if size is not None]
    return sum(known) if known and len(known) == len(sizes) else None


def _tensor_bytes(dimensions: tuple[int, ...] | None, datatype: str) -> int | None:
    if dimensions is None or datatype not in BITS or any(size < 0 for size in dimensions):
        return None
    return math.ceil(math.prod(dimensions) * BITS[datatype] / 8)
