"""What gates are worth after training: detectors trained with gates, beside the same bits spent otherwise.

    python benchmarks/gating_training.py DATA OUT BEST.pt [BEST.pt ...] [--bits 4/2] [--open .3] [--epochs 8]
    python benchmarks/gating_training.py DATA OUT BEST.pt --only "all bits" gates    some of the ways
    python benchmarks/gating_training.py DATA OUT BEST.pt -- --set threads=1         options of edgedet train, for all
    python benchmarks/gating_training.py DATA OUT BEST.pt --table                    of what is done

Each float checkpoint is trained on with `edgedet train --pg` in every way; the last weights are looked at, not the
best on the validation split. The checkpoints are one network trained with several seeds: the table has means, how far
apart they are, and the differences to all bits, to one threshold and to uniform bits with their standard error over the
seeds. "Uniform" has the next whole number of bits, so a little more than the gates have. A run is kept in OUT; a
finished one is not done again.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from options import split
from protocol import print_protocol
from runs import Scores, difference, mean, scores, spread, train_once

from edgedet.data.find import read_dataset, split_of
from edgedet.evaluate.run import evaluate
from edgedet.quant.gate_report import load_gated, watched_gates
from edgedet.quant.gate_variants import updated_share
from edgedet.quant.ptq import runtime_of

ALL, GATES, ONE, UNIFORM = "all bits", "gates", "one threshold", "uniform bits"
COMPARED_WITH = (ALL, ONE, UNIFORM)
HEADS = ("activations", "updates made", "bits on average", "seeds", "mAP50-95", "from, to")
HEADS += tuple(f"to {way}" for way in COMPARED_WITH)


def ways(bits: str, share: float) -> Mapping[str, Sequence[str]]:
    """Settings of each way to spend the bits, by its name."""
    whole, high = map(int, bits.split("/"))
    uniform = math.ceil(high + share * (whole - high))
    gated = [f"qat.pg.bits={whole}", f"qat.pg.high_bits={high}", f"qat.pg.open={share}"]
    without_gates = [f"qat.pg.high_bits={high}", "qat.pg.open=1.0", "qat.pg.thresholds=kept"]
    return {
        ALL: [f"qat.pg.bits={whole}", *without_gates],
        GATES: gated,
        ONE: [*gated, "qat.pg.thresholds=one"],
        UNIFORM: [f"qat.pg.bits={uniform}", *without_gates],
        "uniform bits, PACT": [f"qat.pg.bits={uniform}", *without_gates, "qat.method=pact"],
    }


def folders(arguments: argparse.Namespace, way: str) -> dict[int, Path]:
    name = f"{way} {arguments.bits} {arguments.open:g}".replace(",", "").replace("/", "-").replace(" ", "_")
    return {seed: arguments.out / f"{name}-{seed}" for seed in range(len(arguments.checkpoints))}


def train_all(arguments: argparse.Namespace) -> None:
    """Every way from the first checkpoint, then from the next."""
    for seed, init in enumerate(arguments.checkpoints):
        for way in arguments.only:
            settings = [part for one in ways(arguments.bits, arguments.open)[way] for part in ("--set", one)]
            run = ["--init", init, "--pg", "--epochs", arguments.epochs, "--seed", seed, *arguments.options, *settings]
            train_once(folders(arguments, way)[seed], arguments.data, *run, checkpoint="last.pt")


def updates(folder: Path, data: Path) -> float:
    """The share of the low bits' multiply-accumulates that a run's gates let through on the test split, 0 to 1."""
    kept = folder / "updates.json"
    if not kept.exists():
        detector, spec = load_gated(folder / "last.pt")
        dataset = read_dataset(data)
        with watched_gates(detector) as layers:
            evaluate(runtime_of(detector, spec), split_of(dataset, "test"), dataset.class_names, batch=1)
        kept.write_text(json.dumps(updated_share(one.use for one in layers())), encoding="utf-8")
    return float(json.loads(kept.read_text(encoding="utf-8")))


def row(arguments: argparse.Namespace, way: str, base: Mapping[str, Scores]) -> str:
    places = folders(arguments, way)
    found = scores(places)
    made = statistics.mean(updates(places[seed], arguments.data) for seed in found)
    settings = dict(one.split("=") for one in ways(arguments.bits, arguments.open)[way])
    whole, high = int(settings["qat.pg.bits"]), int(settings["qat.pg.high_bits"])
    cells = [f"{made:.2f}", f"{high + made * (whole - high):.2f}", str(len(found)), f"{mean(found):.4f}", spread(found)]
    cells += ["" if way == other else difference(found, base[other]) for other in COMPARED_WITH]
    return f"| {way} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--bits", default="4/2")
    parser.add_argument("--open", type=float, default=0.3)
    parser.add_argument("--epochs", type=int, default=8)
    names = list(ways("4/2", 0.3))
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="WAY")
    parser.add_argument("--table", action="store_true", help="train nothing")
    own, options = split(sys.argv[1:])
    arguments = parser.parse_args(own, argparse.Namespace(options=options))
    if not arguments.table:
        train_all(arguments)
    print(f"| {' | '.join(HEADS)} |\n|{' --- |' * len(HEADS)}")
    base = {way: scores(folders(arguments, way)) for way in COMPARED_WITH}
    for way in arguments.only:
        if scores(folders(arguments, way)):
            print(row(arguments, way, base))
    print_protocol("edgedet", "torch", epochs=arguments.epochs, options=arguments.options)


if __name__ == "__main__":
    main()
