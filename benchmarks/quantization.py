"""INT8 beside float: accuracy of trained checkpoints, and ONNX Runtime's latency, at 320 pixels.

    python benchmarks/quantization.py latency [--models ...] [--rounds 15]
    python benchmarks/quantization.py accuracy DATA RUN [RUN ...]

Latency: batch 1, one thread, random weights, float and INT8 of each model in turn; the figure is the median over rounds
of each round's median. Accuracy: float checkpoint and its file for ONNX Runtime's integer kernels, on the test split.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from accuracy import edgedet
from protocol import print_protocol

from edgedet.bench.latency import measure_latency
from edgedet.graph.export import export_model
from edgedet.models.zoo import list_models


def latency(arguments: argparse.Namespace) -> None:
    """The table of float and INT8 medians."""
    medians: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for name in arguments.models:
            for precision, target in (("float", "master"), ("INT8", "ort-cpu")):
                path = Path(folder) / f"{name}.{target}.onnx"
                export_model(name, path, target=target, classes=arguments.classes, size=(320, 320))
                files[name, precision] = path
        for _ in range(arguments.rounds):
            for key, path in files.items():
                found = measure_latency(path, threads=1, iterations=arguments.iterations)
                medians.setdefault(key, []).append(found.inference.p50)
    print("| model | float, ms | INT8, ms | gain |\n| --- | --- | --- | --- |")
    for name in arguments.models:
        before, after = (statistics.median(medians[name, precision]) for precision in ("float", "INT8"))
        print(f"| {name} | {before:.2f} | {after:.2f} | {before / after:.2f} |")
    print_protocol("edgedet", "onnxruntime", rounds=arguments.rounds, iterations=arguments.iterations)


def accuracy(arguments: argparse.Namespace) -> None:
    """The table of float and INT8 mAP."""
    print("| run | float mAP50-95 | INT8 checkpoint | INT8 file | rank correlation |\n| --- | --- | --- | --- | --- |")
    for run in arguments.runs:
        result = edgedet("quantize", run / "best.pt", arguments.data, *arguments.options)
        export = edgedet("export", result["path"], "--target", "ort-cpu", "--data", arguments.data)
        files = (run / "best.pt", result["path"], export["path"])
        scores = [edgedet("eval", file, arguments.data, "--split", "test")["map"] for file in files]
        columns = " | ".join(f"{score:.4f}" for score in scores)
        print(f"| {run.name} | {columns} | {result['rank_correlation']:.4f} |", flush=True)
    print_protocol("edgedet", "torch", "onnxruntime", options=" ".join(arguments.options) or "defaults")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = parser.add_subparsers(required=True)
    timed = kinds.add_parser("latency")
    timed.add_argument("--models", nargs="+", default=list_models())
    timed.add_argument("--rounds", type=int, default=15)
    timed.add_argument("--iterations", type=int, default=20)
    timed.add_argument("--classes", type=int, default=80)
    timed.set_defaults(work=latency)
    judged = kinds.add_parser("accuracy")
    judged.add_argument("data", type=Path)
    judged.add_argument("runs", type=Path, nargs="+")
    judged.add_argument("options", nargs="*", help="options for `edgedet quantize`, after --")
    judged.set_defaults(work=accuracy)
    arguments = parser.parse_args()
    arguments.work(arguments)


if __name__ == "__main__":
    main()
