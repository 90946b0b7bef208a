"""The layers of an ONNX file on ONNX Runtime."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgedet.bench.layers.exported import exported_costs, nodes_of_kernels
from edgedet.bench.layers.kernels import Kernel, read_kernels
from edgedet.bench.layers.measuring import median_run_ms, picture_tensor
from edgedet.bench.layers.peak import measure_peak
from edgedet.bench.layers.table import Layer, LayerTable, layer_table
from edgedet.bench.pinning import pinned
from edgedet.files import read_bytes
from edgedet.runtime.backends.onnxruntime import MODEL_LIMIT, load, profile_runs
from edgedet.runtime.detector import Detector

if TYPE_CHECKING:
    from edgedet.graph.costs import NodeCost


def profile_onnx(
    model: Path,
    *,
    threads: int = 1,
    runs: int = 50,
    warmup: int = 5,
    image: Path | None = None,
    operators: Path | None = None,
    with_peak: bool = True,
) -> LayerTable:
    """Times every kernel of an ONNX file on the CPU, its process pinned to as many cores as it has threads.

    Args:
        model: that edgedet exported.
        threads: threads for inference.
        runs: that are timed.
        warmup: runs before them.
        image: what is detected in; None generates one of 640x480.
        operators: library of edgedet's operators for ONNX Runtime.
        with_peak: whether the device's peak is measured too, which takes two seconds. Without MACs it is not.

    Raises:
        EdgedetError: the model or the image cannot be read, or there are fewer cores than threads.
        ModuleNotFoundError: ONNX Runtime is not installed.
    """
    with pinned(threads):
        detector = Detector(*load(model, threads=threads, operators=operators))
        tensor = picture_tensor(detector, image)
        whole_run_ms = median_run_ms(detector, tensor, runs=runs, warmup=warmup)
        events = profile_runs(
            read_bytes(model, limit=MODEL_LIMIT),
            {detector.backend.inputs[0].name: tensor},
            runs=warmup + runs,
            threads=threads,
            operators=operators,
        )
        costs, notes = exported_costs(model, batch=len(tensor))
        peak = measure_peak(threads) if with_peak and costs is not None else None
    return layer_table(
        detector.backend.name,
        kernel_layers(read_kernels(events, skip=warmup), costs),
        runs=runs,
        whole_run_ms=whole_run_ms,
        graph_macs=None if costs is None else sum(cost.macs for cost in costs),
        peak=peak,
        notes=notes,
    )


def kernel_layers(kernels: Sequence[Kernel], costs: Sequence[NodeCost] | None) -> list[Layer]:
    """The kernels as layers, with the MACs of the nodes that they stand for.

    Args:
        kernels: of one profile.
        costs: of the nodes of the file that was profiled; None where they are not known.
    """
    if costs is None:
        return [_layer(kernel, None) for kernel in kernels]
    nodes = nodes_of_kernels([(kernel.name, kernel.operator) for kernel in kernels], costs)
    return [_layer(kernel, found) for kernel, found in zip(kernels, nodes, strict=True)]


def _layer(kernel: Kernel, nodes: Sequence[NodeCost] | None) -> Layer:
    # The profile leaves out weights that were packed anew, the file tells them; of the rest of the constants neither
    # has less than it should.
    stored = sum(node.weight_bytes for node in nodes or () if node.macs)
    return Layer(
        name=kernel.name,
        kind=kernel.operator,
        milliseconds=statistics.median(kernel.milliseconds),
        mean_ms=statistics.mean(kernel.milliseconds),
        macs=None if nodes is None else sum(node.macs for node in nodes),
        bytes=kernel.activation_bytes + max(kernel.parameter_bytes, stored) + kernel.output_bytes,
        precision=kernel.precision,
        provider=kernel.provider,
        nodes=None if nodes is None else tuple(node.name for node in nodes),
        shape=kernel.shape,
    )
