"""Each switch of training alone, on top of the default recipe: accuracy on the test split, over several seeds.

    python benchmarks/ablation.py DATA OUT [--model shufflenetv2_1.0x] [--epochs 100] [--seeds 0 1 2] [--parallel 1]
    python benchmarks/ablation.py DATA OUT --only base simota "mixup .5"           some of them
    python benchmarks/ablation.py DATA OUT -- --set accelerator=cuda               options of edgedet train, for all
    python benchmarks/ablation.py DATA OUT --table                                 of what is done

A run is kept in OUT/NAME-SEED with all of its settings; a finished one is not done again. The table has the finished
runs: the mean of mAP50-95, how far apart the seeds are, the mean of mAP50, and the difference to the base of the same
seeds with its standard error over them.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from options import split
from protocol import print_protocol

BASE = "base"
SWITCHES: Mapping[str, Sequence[str]] = {
    BASE: (),
    "no mosaic": ("augment.mosaic=0",),
    "mosaic .5": ("augment.mosaic=0.5",),
    "mosaic .5, split .5": ("augment.mosaic=0.5", "augment.split=0.5"),
    "mixup .5": ("augment.mixup=0.5",),
    "cutmix .5": ("augment.cutmix=0.5",),
    "cutout .5": ("augment.cutout=0.5",),
    "random erasing .5": ("augment.random_erasing=0.5",),
    "gridmask .5": ("augment.gridmask=0.5",),
    "rotate 10, shear 5": ("augment.rotate=10", "augment.shear=5"),
    "vertical flips": ("augment.flip_vertical=0.5",),
    "scale-aware autoaugment": ("augment.scale_aware=true",),
    "multi-scale .25": ("multi_scale=0.25",),
    "vfl": ("loss.classification=vfl",),
    "bce": ("loss.classification=bce",),
    "focal": ("loss.classification=focal",),
    "bce, label smoothing .1": ("loss.classification=bce", "loss.label_smoothing=0.1"),
    "hard negatives": ("loss.negatives=hard",),
    "diou": ("loss.box=diou",),
    "ciou": ("loss.box=ciou",),
    "repulsion .5": ("loss.repulsion_weight=0.5",),
    "dynamic": ("loss.assigner=dynamic",),
    "simota": ("loss.assigner=simota",),
    "atss": ("loss.assigner=atss",),
    "fcos head": ("network.head=fcos",),
    "ssdlite head": ("network.head=ssdlite",),
    "yolo head": ("network.head=yolo",),
    "spp": ("network.spp=true",),
    "se": ("network.se=true",),
    "dropblock .1, 3": ("network.dropblock=0.1", "network.dropblock_size=3"),
    "hardswish": ("activation=hardswish",),
    "mish": ("activation=mish",),
    "no ema": ("ema=false",),
    "batch 16": ("batch=16",),
}


def train(arguments: argparse.Namespace, name: str, seed: int) -> None:
    """One run, if it is not done yet."""
    out = folder_of(arguments.out, name, seed)
    if (out / "test.json").exists():
        return
    settings = [option for value in SWITCHES[name] for option in ("--set", value)]
    run = ["train", arguments.data, "--model", arguments.model, "--epochs", arguments.epochs, "--seed", seed]
    edgedet(*run, "--out", out, "--overwrite", *arguments.options, *settings, log=out.with_suffix(".log"))
    found = edgedet("eval", out / "best.pt", arguments.data, "--split", "test", "--json", log=out.with_suffix(".log"))
    (out / "test.json").write_text(found, encoding="utf-8")


def train_all(arguments: argparse.Namespace) -> None:
    """Every switch with the first seed, then with the next."""
    runs = [(name, seed) for seed in arguments.seeds for name in arguments.only]
    with ThreadPoolExecutor(arguments.parallel) as pool:
        done = [pool.submit(train, arguments, name, seed) for name, seed in runs]
    for (name, seed), run in zip(runs, done, strict=True):
        if run.exception() is not None:
            print(f"{name}, seed {seed}: {run.exception()}", file=sys.stderr)


def folder_of(out: Path, name: str, seed: int) -> Path:
    return out / f"{name.replace(' ', '_').replace(',', '')}-{seed}"


def edgedet(*arguments: object, log: Path) -> str:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as errors:
        command = [sys.executable, "-m", "edgedet", *map(str, arguments)]
        return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, stderr=errors).stdout


def results(arguments: argparse.Namespace, name: str) -> dict[int, dict[str, float]]:
    """What the runs of a switch reached, by seed."""
    found = {seed: folder_of(arguments.out, name, seed) / "test.json" for seed in arguments.seeds}
    return {seed: json.loads(path.read_text(encoding="utf-8")) for seed, path in found.items() if path.exists()}


def row(name: str, found: Mapping[int, Mapping[str, float]], base: Mapping[int, Mapping[str, float]]) -> str:
    scores = [one["map"] for one in found.values()]
    differences = [one["map"] - base[seed]["map"] for seed, one in found.items() if seed in base]
    more = "" if name == BASE or not differences else f"{statistics.mean(differences):+.4f}"
    if more and len(differences) > 1:
        more += f" ± {statistics.stdev(differences) / math.sqrt(len(differences)):.4f}"
    spread = f"{min(scores):.4f} to {max(scores):.4f}"
    fifty = statistics.mean(one["map50"] for one in found.values())
    return f"| {name} | {len(scores)} | {statistics.mean(scores):.4f} | {spread} | {fifty:.4f} | {more} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="shufflenetv2_1.0x")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=list(SWITCHES), default=list(SWITCHES), metavar="SWITCH")
    parser.add_argument("--parallel", type=int, default=1, help="runs at once")
    parser.add_argument("--table", action="store_true", help="train nothing")
    own, options = split(sys.argv[1:])
    arguments = parser.parse_args(own, argparse.Namespace(options=options))
    if not arguments.table:
        train_all(arguments)
    print("| switch | seeds | mAP50-95 | from, to | mAP50 | against the base |\n| --- | --- | --- | --- | --- | --- |")
    base = results(arguments, BASE)
    for name in arguments.only:
        if found := results(arguments, name):
            print(row(name, found, base))
    print_protocol("edgedet", "torch", model=arguments.model, epochs=arguments.epochs, options=arguments.options)


if __name__ == "__main__":
    main()
