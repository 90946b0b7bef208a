"""Trains models from random weights and evaluates checkpoint and ONNX file on the test split.

    python benchmarks/accuracy.py DATA --out runs/accuracy [--models ...] [-- OPTIONS OF edgedet train]

A model whose finished run is already in the output folder is not trained again; an unfinished one goes on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from protocol import print_protocol

DEFAULT_MODELS = ["shufflenetv2_1.0x", "mobilenetv2_0.5", "squeezenet_1.1"]


def edgedet(*arguments: object) -> dict:
    """The JSON that an `edgedet` command prints."""
    command = [sys.executable, "-m", "edgedet", *map(str, arguments), "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--models", nargs="+", default=DEFAULT_MODELS)
    parser.add_argument("options", nargs="*", help="options for `edgedet train`, after --")
    arguments = parser.parse_args()
    print("| model | mAP50-95 | mAP50 | ONNX mAP50-95 | largest box and score error | epochs | minutes |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for model in arguments.models:
        run = arguments.out / model
        if (run / "last.pt").exists() and not (run / "predictions.png").exists():
            edgedet("train", "--resume", run)
        elif not (run / "last.pt").exists():
            edgedet("train", arguments.data, "--model", model, "--out", run, *arguments.options)
        export = edgedet("export", run / "best.pt", "--data", arguments.data)
        checkpoint = edgedet("eval", run / "best.pt", arguments.data, "--split", arguments.split)
        exported = edgedet("eval", export["path"], arguments.data, "--split", arguments.split)
        epochs = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        agreement = export["agreement"]
        print(
            f"| {model} | {checkpoint['map']:.4f} | {checkpoint['map50']:.4f} | {exported['map']:.4f} "
            f"| {agreement['box_error']:.1e} px, {agreement['score_error']:.1e} | {len(epochs)} "
            f"| {sum(epoch['seconds'] + epoch.get('eval_seconds', 0) for epoch in epochs) / 60:.1f} |",
            flush=True,
        )
    print_protocol("edgedet", "torch", "onnxruntime", options=" ".join(arguments.options) or "defaults")


if __name__ == "__main__":
    main()
