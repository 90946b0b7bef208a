"""How far two runs of one model on one machine lie apart: what `edgedet gate --between-runs` asks for.

    python benchmarks/between_runs.py [--runs 20] [--pause 10]

Each run is a process of its own, as `edgedet bench` is; of all pairs of runs the ratio of the medians is taken. Runs
that say of themselves that the machine was disturbed are named and left out: nothing is said of them.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from protocol import print_protocol

from edgedet.bench.result import Result, read_result
from edgedet.bench.statistics import percentile
from edgedet.graph.export import export_model


def run(model: Path, folder: Path) -> Result:
    saved = folder / "result.json"
    command = [sys.executable, "-m", "edgedet", "bench", str(model), "--save", str(saved)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return read_result(saved)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--pause", type=float, default=10.0, help="seconds between runs")
    parser.add_argument("--model", default="shufflenetv2_0.5x")
    parser.add_argument("--imgsz", type=int, default=160)
    arguments = parser.parse_args()
    medians = []
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        export_model(arguments.model, model, classes=80, size=(arguments.imgsz, arguments.imgsz))
        for number in range(arguments.runs):
            found = run(model, Path(folder))
            disturbed = ", ".join(disturbance.kind for disturbance in found.disturbances)
            print(f"# run {number + 1}: {found.latency.median:.3f} ms {disturbed}", flush=True)
            if not disturbed:
                medians.append(found.latency.median)
            time.sleep(arguments.pause)
    apart = sorted(max(one, other) / min(one, other) - 1 for one, other in itertools.combinations(medians, 2))
    print(f"{len(medians)} of {arguments.runs} runs undisturbed\n\n| percentile of pairs | apart |\n| --- | --- |")
    for percentage in (50, 90, 95, 99, 100):
        print(f"| {percentage} | {percentile(apart, percentage):.2%} |")
    print_protocol("edgedet", "onnxruntime", model=f"{arguments.model} @{arguments.imgsz}", runs=arguments.runs)


if __name__ == "__main__":
    main()
