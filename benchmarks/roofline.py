"""The layers of a model on ONNX Runtime: time, MACs, bytes, and the share of what this CPU can do at most.

    python benchmarks/roofline.py MODEL [--target ort-cpu] [--size 320] [--threads 1] [--rows 20] [--plot roofline.png]

MODEL is an ONNX file that edgedet exported, or the name of a model, which is exported with random weights. The peak is
that of ONNX Runtime's product of two 384x384 matrices and of a copy in memory, on the same cores.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from protocol import print_protocol

from edgedet.bench.layers.onnxruntime import profile_onnx
from edgedet.bench.layers.plot import save_roofline
from edgedet.bench.layers.table import Layer, LayerTable
from edgedet.graph.export import export_model
from edgedet.graph.targets import MASTER, TARGETS


def print_table(table: LayerTable, rows: int) -> None:
    """Prints the layers that take longest, and what all take together."""
    print("| layer | kind | ms | time, % | MMAC | kB | GMAC/s | of the peak, % |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for layer in table.costliest_first()[:rows]:
        print(f"| {' | '.join(columns(layer))} |")
    rest = table.costliest_first()[rows:]
    if rest:
        print(f"| {len(rest)} more | | {sum(layer.milliseconds for layer in rest):.3f} | | | | | |")
    print(f"\nall layers {table.total_ms:.3f} ms, a run that is not profiled {table.whole_run_ms:.3f} ms")
    if table.peak is not None:
        print(
            f"peak: {table.peak.float32_gmacs:.1f} GMAC/s in float32, "
            f"{table.peak.integer_gmacs:.1f} GMAC/s in integers, {table.peak.gigabytes_per_second:.1f} GB/s"
        )
    for note in table.notes:
        print(f"note: {note}")


def columns(layer: Layer) -> list[str]:
    """A layer's row; empty where there is nothing to tell."""
    name = f"{layer.label} (inserted)" if layer.inserted else layer.label
    figures = [
        (layer.milliseconds, 3),
        (_scaled(layer.share, 100), 1),
        (_scaled(layer.macs or None, 1e-6), 2),
        (_scaled(layer.bytes, 1e-3), 0),
        (layer.achieved_gmacs, 1),
        (_scaled(layer.peak_share, 100), 0),
    ]
    told = ["" if value is None else f"{value:.{digits}f}" for value, digits in figures]
    return [name, layer.kind, *told]


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="ONNX file, or name of a model")
    parser.add_argument("--target", default=MASTER, choices=list(TARGETS), help="of a model by name")
    parser.add_argument("--size", type=int, default=320, help="of a model by name")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("--plot", type=Path, default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(arguments.model)
        if file.suffix != ".onnx":
            file = Path(folder) / "model.onnx"
            export_model(arguments.model, file, target=arguments.target, size=(arguments.size, arguments.size))
        table = profile_onnx(file, threads=arguments.threads, runs=arguments.runs)
    print_table(table, arguments.rows)
    print_protocol("edgedet", "onnxruntime", runs=arguments.runs, threads=arguments.threads)
    if arguments.plot is not None:
        save_roofline(table, arguments.plot)


if __name__ == "__main__":
    main()
