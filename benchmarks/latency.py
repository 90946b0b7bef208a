"""ONNX Runtime's latency of every model at 320 pixels, batch 1, random weights, at 1 and 2 threads.

    python benchmarks/latency.py [--rounds 5] [--iterations 50] [--models ...]

Models and thread counts take turns; the figure is the median over rounds of each round's median.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from protocol import print_protocol

from edgedet.bench.measure import measure
from edgedet.bench.settings import Settings
from edgedet.graph.export import export_model
from edgedet.models.zoo import list_models


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=50)
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--models", nargs="+", default=list_models())
    arguments = parser.parse_args()
    medians: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for name in arguments.models:
            files[name] = Path(folder) / f"{name}.onnx"
            export_model(name, files[name], classes=arguments.classes, size=(320, 320))
        for _ in range(arguments.rounds):
            for name, file in files.items():
                for threads in (1, 2):
                    settings = Settings(threads=threads, iterations=arguments.iterations, duration=0)
                    found = measure(file, settings).result
                    medians.setdefault((name, threads), []).append(found.latency.median)
    print("| model | 1 thread, ms | 2 threads, ms |\n| --- | --- | --- |")
    for name in files:
        one, two = (statistics.median(medians[name, threads]) for threads in (1, 2))
        print(f"| {name} | {one:.2f} | {two:.2f} |")
    print_protocol("edgedet", "onnxruntime", rounds=arguments.rounds, iterations=arguments.iterations)


if __name__ == "__main__":
    main()
