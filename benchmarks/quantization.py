"""INT8 beside float: accuracy of trained checkpoints, and ONNX Runtime's latency, at 320 pixels.

    python benchmarks/quantization.py latency [--models ...] [--rounds 15]
    python benchmarks/quantization.py accuracy DATA RUN [RUN ...] [-- OPTIONS OF edgedet quantize]
    python benchmarks/quantization.py training DATA RUN [RUN ...] [-- OPTIONS OF edgedet train]

Latency: batch 1, one thread, random weights, float and INT8 of each model in turn; the figure is the median over rounds
of each round's median. Accuracy: float checkpoint and its file for ONNX Runtime's integer kernels, on the test split.
Training: the same after quantization-aware training of each run's checkpoint, in the run's folder `qat`; runs of one
model (the name of their folder) with several seeds give a mean. A finished training is not done again, an unfinished
one goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from accuracy import edgedet
from protocol import print_protocol

from edgedet.bench.measure import measure
from edgedet.bench.settings import Settings
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
                found = measure(path, Settings(iterations=arguments.iterations, duration=0)).result
                medians.setdefault(key, []).append(found.latency.median)
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


def training(arguments: argparse.Namespace) -> None:
    """The table of float, calibrated and trained mAP; the INT8 ones by ONNX Runtime's integer kernels."""
    print("| run | float mAP50-95 | calibrated INT8 | trained INT8 | its checkpoint | minutes |")
    print("| --- | --- | --- | --- | --- | --- |")
    found: dict[str, list[list[float]]] = {}
    for run in arguments.runs:
        calibrated = edgedet("quantize", run / "best.pt", arguments.data)["path"]
        trained = _trained(run, arguments.data, arguments.options)
        files = [run / "best.pt", _lowered(calibrated, arguments.data), _lowered(trained, arguments.data), trained]
        scores = [edgedet("eval", file, arguments.data, "--split", "test")["map"] for file in files]
        found.setdefault(run.name, []).append(scores)
        epochs = [json.loads(line) for line in (trained.parent / "metrics.jsonl").read_text().splitlines()]
        minutes = sum(epoch["seconds"] + epoch.get("eval_seconds", 0) for epoch in epochs) / 60
        print(f"| {run} | {' | '.join(f'{score:.4f}' for score in scores)} | {minutes:.1f} |", flush=True)
    for model, rows in found.items():
        means = " | ".join(f"{statistics.mean(column):.4f}" for column in zip(*rows, strict=True))
        print(f"| {model}, mean of {len(rows)} | {means} | |")
    print_protocol("edgedet", "torch", "onnxruntime", options=" ".join(arguments.options) or "defaults")


def _trained(run: Path, data: Path, options: list[str]) -> Path:
    folder = run / "qat"
    if (folder / "last.pt").exists() and not (folder / "predictions.png").exists():
        edgedet("train", "--resume", folder)
    elif not (folder / "last.pt").exists():
        edgedet("train", data, "--init", run / "best.pt", "--qat", "--out", folder, *options)
    return folder / "best.pt"


def _lowered(checkpoint: Path, data: Path) -> str:
    return edgedet("export", checkpoint, "--target", "ort-cpu", "--data", data)["path"]


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
    learned = kinds.add_parser("training")
    learned.add_argument("data", type=Path)
    learned.add_argument("runs", type=Path, nargs="+")
    learned.add_argument("options", nargs="*", help="options for `edgedet train`, after --")
    learned.set_defaults(work=training)
    arguments = parser.parse_args()
    arguments.work(arguments)


if __name__ == "__main__":
    main()
