"""What gates are worth before training: calibrated detectors with gates, beside the same bits spent otherwise.

    python benchmarks/gating_accuracy.py DATA BEST.pt [BEST.pt ...] [--open .2 .3 .4 .5] [--bits 8/4 6/4] [--split test]
    python benchmarks/gating_accuracy.py DATA BEST.pt -- --set qat.pg.granularity=tile       settings of edgedet train

Each float checkpoint is calibrated as `edgedet train --pg` begins, with every share of updates asked for, and looked at
as `edgedet pg report` does. Tables have mAP50-95, the mean over the checkpoints, which are one network trained with
several seeds, and the standard error over them of what gates lose against all bits.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from options import split
from protocol import print_protocol

from edgedet.config import override, parse
from edgedet.data.find import read_dataset, split_of
from edgedet.models.checkpoint import load_checkpoint, save_checkpoint
from edgedet.quant.gate_report import GateReport, report_gates
from edgedet.train.config import TrainConfig
from edgedet.train.qat import calibrated, defaults

COLUMNS = {
    "uniform_all": "all bits",
    "gated": "gates",
    "one": "one threshold",
    "random": "at random",
    "static": "whole layers",
    "uniform": "uniform",
    "high": "high bits",
    "full": "gates all open",
}


def report(arguments: argparse.Namespace, init: Path, bits: str, share: float) -> GateReport:
    """Of one checkpoint, calibrated with gates."""
    all_bits, high_bits = bits.split("/")
    settings = [f"qat.pg.bits={all_bits}", f"qat.pg.high_bits={high_bits}", f"qat.pg.open={share}", *arguments.settings]
    config = parse(TrainConfig, override({**defaults(init), "data": str(arguments.data)}, settings))
    checkpoint = load_checkpoint(init)
    samples = split_of(read_dataset(arguments.data), config.train_split)
    detector = calibrated(config, checkpoint.float_detector.eval(), samples, checkpoint.spec.preprocess)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gated.pt"
        save_checkpoint(path, detector.eval(), checkpoint.spec)
        return report_gates(path, arguments.data, split=arguments.split)


def row(bits: str, share: float, found: Sequence[GateReport]) -> str:
    accuracy = {name: statistics.mean(one.accuracy[name] for one in found) for name in COLUMNS}
    losses = [one.accuracy["gated"] - one.accuracy["uniform_all"] for one in found]
    loss = f"{statistics.mean(losses):+.4f}"
    if len(losses) > 1:
        loss += f" ± {statistics.stdev(losses) / math.sqrt(len(losses)):.4f}"
    average = statistics.mean(one.bits for one in found)
    saved = statistics.mean(1 - one.bit_operations / one.full_bit_operations for one in found)
    uniform = "/".join(sorted({str(one.uniform_bits) for one in found}))
    cells = [f"{value:.4f}" for value in accuracy.values()]
    cells[list(COLUMNS).index("uniform")] += f" ({uniform} bits)"
    return f"| {bits} | {share:g} | {average:.2f} | {saved:.0%} | {' | '.join(cells)} | {loss} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--open", type=float, nargs="+", default=[0.2, 0.3, 0.4, 0.5])
    parser.add_argument("--bits", nargs="+", default=["8/4"])
    parser.add_argument("--split", default="test")
    parser.add_argument("--json", type=Path, help="write all reports here")
    own, options = split(sys.argv[1:])
    settings = [option for option in options if option != "--set"]
    arguments = parser.parse_args(own, argparse.Namespace(settings=settings))
    heads = [
        "bits",
        "share asked for",
        "bits on average",
        "bit operations saved",
        *COLUMNS.values(),
        "gates - all bits",
    ]
    print(f"| {' | '.join(heads)} |\n|{' --- |' * len(heads)}")
    records: list[dict[str, Any]] = []
    for bits in arguments.bits:
        for share in arguments.open:
            found = [report(arguments, init, bits, share) for init in arguments.checkpoints]
            for init, one in zip(arguments.checkpoints, found, strict=True):
                records.append({"checkpoint": str(init), "asked": bits, "open": share, **one.to_dict()})
            print(row(bits, share, found), flush=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(records), encoding="utf-8")
    print_protocol("edgedet", "torch", checkpoints=len(arguments.checkpoints), split=arguments.split, settings=settings)


if __name__ == "__main__":
    main()
