"""Mish on the CPU, on one thread: edgedet's kernel beside ONNX Runtime's, torch's and a copy of memory.

    make operators && python benchmarks/mish.py [--rounds 15] [--models mobilenetv2_1.0 shufflenetv2_1.0x]

First of many values, then in INT8 detectors of 320 pixels with random weights, their files for ONNX Runtime run with
edgedet's library of operators and without, beside the same detectors with ReLU6. All in turn; medians over rounds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import onnxruntime
import torch
from onnx import TensorProto, helper
from protocol import print_protocol

from edgedet.bench.pinning import pinned
from edgedet.graph.export import export_model
from edgedet.ops.mish.native import mish
from edgedet.runtime.load import load_detector

OPERATORS = Path(__file__).resolve().parents[1] / "build" / "native" / "libedgedet_onnxruntime.so"
COUNTS = (10_000, 400_000)

Run = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--models", nargs="*", default=["mobilenetv2_1.0", "shufflenetv2_1.0x"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("milliseconds\n| values | edgedet | ONNX Runtime | torch | copy |\n| --- | --- | --- | --- | --- |")
    with pinned(1):
        for count in COUNTS:
            print(f"| {count} | {_row(_of_values(count), arguments.rounds)} |", flush=True)
        print("| INT8 detector | Mish, edgedet's operator | Mish, function body | ReLU6 |\n| --- | --- | --- | --- |")
        for model in arguments.models:
            print(f"| {model} | {_row(_of_detector(model), arguments.rounds)} |", flush=True)
    print_protocol("edgedet", "onnxruntime", "torch", rounds=arguments.rounds)


def _row(runs: list[Run], rounds: int) -> str:
    times: list[list[float]] = [[] for _ in runs]
    for turn in range(rounds + 1):
        for found, run in zip(times, runs, strict=True):
            start = perf_counter()
            run()
            if turn:
                found.append((perf_counter() - start) * 1e3)
    return " | ".join(f"{statistics.median(found):.3g}" for found in times)


def _of_values(count: int) -> list[Run]:
    values = np.random.default_rng(0).normal(0, 3, count).astype(np.float32)
    tensor, copy = torch.from_numpy(values), np.empty_like(values)
    node = helper.make_node("Mish", ["x"], ["y"])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in "xy"]
    graph = helper.make_graph([node], "mish", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [
        lambda: mish(values),
        lambda: session.run(None, {"x": values}),
        lambda: torch.nn.functional.mish(tensor),
        lambda: np.copyto(copy, values),
    ]


def _of_detector(model: str) -> list[Run]:
    image = [np.random.default_rng(0).integers(0, 256, (320, 320, 3), np.uint8)]
    runs: list[Run] = []
    with tempfile.TemporaryDirectory() as folder:
        for activation, operators in (("mish", OPERATORS), ("mish", None), ("relu6", None)):
            path = Path(folder) / f"{activation}.onnx"
            if not path.exists():
                export_model(model, path, target="ort-cpu", activation=activation)
            detector = load_detector(path, threads=1, operators=operators)
            runs.append(lambda detector=detector: detector.detect(image))
    return runs


if __name__ == "__main__":
    main()
