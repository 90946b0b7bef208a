"""Gated 1x1 convolutions on the CPU, on one thread, beside ONNX Runtime's of the same layer, in INT8 and float32.

    make operators && python benchmarks/gating.py [--models shufflenetv2_0.5x mobilenetv2_0.5] [--rounds 40] [--most 8]
    python benchmarks/gating.py --wide         codes of 16 bits, 8 of them gated, instead of layers that stay float

The distinct dense 1x1 convolutions of backbones and necks of 320 pixels, those of the most products first, with random
weights and codes of 8 bits, 4 of them gated. INT8 layers take and give uint8, as in a quantized detector: ONNX Runtime
fuses the quantizers around its own convolution, and the operator `EdgeDetQGatedConv` has them in it. The column `float
ends` is `EdgeDetGatedConv` with its quantizers as nodes around it, a tenth of the positions open.

With --wide maps stay float, as around a layer that INT8 would harm: `EdgeDetGatedConv` rounds them to 16 bits, and is
set beside the float32 convolution that it stands for. INT8 is there to tell what the layer would cost without either.

Thresholds open the gate at the share of positions or tiles asked for, scattered at random. All sessions of a shape take
turns: each runs once, so that what it reads was written just before, as in a detector, and is then timed, three runs
together, with the session's own cost. Medians over rounds.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from protocol import print_protocol

from edgedet.bench.pinning import pinned
from edgedet.models.zoo import build_detector
from edgedet.ops.gated_conv.body import (
    DOMAIN,
    OP_TYPE,
    QUANTIZED_OP_TYPE,
    function_body,
    gate_attributes,
    quantized_body,
)
from edgedet.ops.gated_conv.definition import GatedConv, Granularity
from edgedet.ops.gated_conv.reference import split

OPERATORS = Path(__file__).resolve().parents[1] / "build" / "native" / "libedgedet_onnxruntime.so"
SHARES = (0.1, 0.25, 0.5, 1.0)
TIMED = 3
X_SCALE, WEIGHT_SCALE, Y_SCALE = 0.02, 0.004, 0.1
GRIDS: dict[str, NDArray[Any]] = {
    "x_scale": np.array(X_SCALE, np.float32),
    "x_zero": np.array(0, np.uint8),
    "y_scale": np.array(Y_SCALE, np.float32),
    "y_zero": np.array(128, np.uint8),
}

Run = Callable[[], object]


class Shape(NamedTuple):
    inputs: int
    outputs: int
    height: int
    width: int

    @property
    def products(self) -> int:
        return self.inputs * self.outputs * self.height * self.width


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["shufflenetv2_0.5x", "mobilenetv2_0.5"])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--most", type=int, default=8, help="shapes of a model")
    parser.add_argument("--wide", action="store_true", help="16 bits, 8 of them gated, between float maps")
    arguments = parser.parse_args()
    gated_runs, rival = (wide_runs_of, "float32") if arguments.wide else (runs_of, "INT8")
    heads = [f"{share:.0%}" for share in SHARES]
    timed = ["float32", "INT8", *heads, *([] if arguments.wide else ["float ends"])]
    columns = ["layer", "gate", *timed, *(f"{rival} / {head}" for head in heads)]
    wins: dict[str, list[bool]] = {}
    with pinned(1):
        for model in arguments.models:
            print(f"{model}, microseconds; above 1 gating wins\n| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
            for shape in shapes_of(model)[: arguments.most]:
                for granularity in ("pixel", "tile"):
                    times = medians(gated_runs(shape, granularity), arguments.rounds)
                    gains = [times[rival] / times[head] for head in heads]
                    for head, gain in zip(heads, gains, strict=True):
                        wins.setdefault(f"{granularity}, {head}", []).append(gain > 1)
                    name = f"{shape.inputs} to {shape.outputs}, {shape.height}x{shape.width}"
                    cells = [f"{times[key]:.1f}" for key in timed]
                    cells += [f"{gain:.2f}" for gain in gains]
                    print(f"| {name} | {granularity} | {' | '.join(cells)} |", flush=True)
    for name, won in wins.items():
        print(f"{name} open: faster than ONNX Runtime's {rival} in {sum(won)} of {len(won)} layers")
    print_protocol("edgedet", "onnxruntime", threads=1, rounds=arguments.rounds)


def shapes_of(model: str) -> list[Shape]:
    """Of the dense 1x1 convolutions in front of the head, those of the most products first."""
    found: set[Shape] = set()

    def note(layer: torch.nn.Module, _: Any, result: torch.Tensor) -> None:
        assert isinstance(layer, torch.nn.Conv2d)
        found.add(Shape(layer.in_channels, layer.out_channels, result.shape[2], result.shape[3]))

    detector = build_detector(model, num_classes=80).eval()
    for name, layer in detector.named_modules():
        is_dense = isinstance(layer, torch.nn.Conv2d) and layer.kernel_size == (1, 1) and layer.groups == 1
        if is_dense and layer.stride == (1, 1) and not name.startswith("head"):
            layer.register_forward_hook(note)
    with torch.no_grad():
        detector(torch.zeros(1, 3, 320, 320))
    return sorted(found, key=lambda shape: -shape.products)


def runs_of(shape: Shape, granularity: Granularity) -> dict[str, Run]:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (1, shape.inputs, shape.height, shape.width))
    weights = rng.integers(-64, 65, (shape.outputs, shape.inputs, 1, 1))
    gate = GatedConv(lowest=0, highest=255, granularity=granularity)
    real = (codes * X_SCALE).astype(np.float32)
    runs = {
        "float32": session(float_layer(weights), real, shape),
        "INT8": session(quantized(convolution(weights)), codes.astype(np.uint8), shape),
    }
    for share in SHARES:
        threshold = threshold_for(share, gate, codes, weights)
        runs[f"{share:.0%}"] = session(gated_bytes(gate, weights, threshold), codes.astype(np.uint8), shape, gate)
        if share == SHARES[0]:
            apart = quantized(gated(gate, weights, threshold))
            runs["float ends"] = session(apart, codes.astype(np.uint8), shape, gate)
    return runs


def wide_runs_of(shape: Shape, granularity: Granularity) -> dict[str, Run]:
    rng = np.random.default_rng(0)
    gate = GatedConv(low_bits=8, lowest=-32768, highest=32639, granularity=granularity)
    codes = rng.integers(0, gate.highest + 1, (1, shape.inputs, shape.height, shape.width))
    weights = rng.integers(-64, 65, (shape.outputs, shape.inputs, 1, 1))
    real = (codes * X_SCALE).astype(np.float32)
    runs = {
        "float32": session(float_layer(weights), real, shape),
        "INT8": session(quantized(convolution(weights)), (codes >> 7).astype(np.uint8), shape),
    }
    for share in SHARES:
        threshold = threshold_for(share, gate, codes, weights)
        runs[f"{share:.0%}"] = session(gated(gate, weights, threshold), real, shape, gate)
    return runs


def threshold_for(share: float, gate: GatedConv, codes: NDArray[Any], weights: NDArray[Any]) -> float:
    """Of the first channel, which alone decides: open where it is among the largest, of positions or of tiles."""
    if share == 1:
        return -np.inf
    high, _ = split(gate, codes)
    predicted = np.einsum("chw,c->hw", high[0], weights[0, :, 0, 0])
    side = gate.tile if gate.granularity == "tile" else 1
    height, width = predicted.shape
    largest = [
        predicted[top : top + side, left : left + side].max()
        for top in range(0, height, side)
        for left in range(0, width, side)
    ]
    return float(np.quantile(largest, 1 - share)) * X_SCALE * WEIGHT_SCALE


class Layer(NamedTuple):
    """Nodes from `x` to `y`."""

    nodes: list[NodeProto]
    constants: dict[str, NDArray[Any]]
    element: int = TensorProto.FLOAT


def float_layer(weights: NDArray[Any]) -> Layer:
    constants = {"w": (weights * WEIGHT_SCALE).astype(np.float32)}
    return Layer([helper.make_node("Conv", ["x", "w"], ["y"])], constants)


def convolution(weights: NDArray[Any]) -> Layer:
    constants = {
        "w": weights.astype(np.int8),
        "w_scale": np.full(len(weights), WEIGHT_SCALE, np.float32),
        "w_zero": np.zeros(len(weights), np.int8),
    }
    nodes = [
        helper.make_node("DequantizeLinear", list(constants), ["real_w"], axis=0),
        helper.make_node("Conv", ["x", "real_w"], ["y"]),
    ]
    return Layer(nodes, constants)


def gated(gate: GatedConv, weights: NDArray[Any], threshold: float) -> Layer:
    thresholds = np.full((len(weights), 1, 1), np.inf, np.float32)
    thresholds[0] = threshold
    constants: dict[str, NDArray[Any]] = {
        "x_scale": np.array(X_SCALE, np.float32),
        "high_scale": np.array(np.float32(X_SCALE) * gate.step, np.float32),
        "w": weights.astype(np.int8),
        "w_scale": np.full(len(weights), WEIGHT_SCALE, np.float32),
        "threshold": thresholds,
        "sign": np.ones((len(weights), 1, 1), np.float32),
        "bias": np.zeros(len(weights), np.float32),
    }
    attributes = {"strides": [1, 1], "pads": [0, 0, 0, 0], "group": 1, **gate_attributes(gate)}
    return Layer([helper.make_node(OP_TYPE, ["x", *constants], ["y"], domain=DOMAIN, **attributes)], constants)


def gated_bytes(gate: GatedConv, weights: NDArray[Any], threshold: float) -> Layer:
    (node,), constants, _ = gated(gate, weights, threshold)
    node.op_type = QUANTIZED_OP_TYPE
    node.input.extend(["x_zero", "y_scale", "y_zero"])
    return Layer([node], {**GRIDS, **constants}, TensorProto.UINT8)


def quantized(layer: Layer) -> Layer:
    """Between quantizers to uint8, as in a detector."""
    inner = [NodeProto.FromString(node.SerializeToString()) for node in layer.nodes]
    inner[-1].input[0], inner[-1].output[0] = "real_x", "real_y"
    first = helper.make_node("DequantizeLinear", ["x", "x_scale", "x_zero"], ["real_x"])
    last = helper.make_node("QuantizeLinear", ["real_y", "y_scale", "y_zero"], ["y"])
    return Layer([first, *inner, last], {**layer.constants, **GRIDS}, TensorProto.UINT8)


def session(layer: Layer, codes: NDArray[Any], shape: Shape, gate: GatedConv | None = None) -> Run:
    dims = [1, shape.outputs, shape.height, shape.width]
    graph = helper.make_graph(
        layer.nodes,
        "layer",
        [helper.make_tensor_value_info("x", layer.element, codes.shape)],
        [helper.make_tensor_value_info("y", layer.element, dims)],
        [numpy_helper.from_array(value, name) for name, value in layer.constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
    functions = [] if gate is None else [function_body(gate, 17), quantized_body(17)]
    made = helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.register_custom_ops_library(str(OPERATORS))
    started = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    binding = started.io_binding()
    binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(codes))
    kind = helper.tensor_dtype_to_np_dtype(layer.element)
    binding.bind_ortvalue_output("y", onnxruntime.OrtValue.ortvalue_from_shape_and_type(dims, kind))
    return lambda: started.run_with_iobinding(binding)


def medians(runs: dict[str, Run], rounds: int) -> dict[str, float]:
    """Microseconds."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            run()
            start = perf_counter()
            for _ in range(TIMED):
                run()
            times[name].append((perf_counter() - start) * 1e6 / TIMED)
    return {name: statistics.median(found) for name, found in times.items()}


if __name__ == "__main__":
    main()
