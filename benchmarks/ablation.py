"""Each switch of training alone, on top of the default recipe: accuracy on the test split, over several seeds.

    python benchmarks/ablation.py DATA OUT [--model shufflenetv2_1.0x] [--epochs 100] [--seeds 0 1 2] [--parallel 1]
    python benchmarks/ablation.py DATA OUT --only base simota "mixup .5"           some of them
    python benchmarks/ablation.py DATA OUT --only base teacher --teacher BIG.pt    what a larger detector teaches
    python benchmarks/ablation.py DATA OUT -- --set accelerator=cuda               options of edgedet train, for all
    python benchmarks/ablation.py DATA OUT --table                                 of what is done

A run is kept in OUT/NAME-SEED with all of its settings; a finished one is not done again. The table has the finished
runs: the mean of mAP50-95, how far apart the seeds are, the mean of mAP50, and the difference to the base of the same
seeds with its standard error over them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from options import split
from protocol import print_protocol
from runs import Scores, difference, mean, scores, spread, train_once

BASE = "base"
TEACHER = "teacher"
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
    "top-k negatives": ("loss.negatives=top_k",),
    "iou": ("loss.box=iou",),
    "diou": ("loss.box=diou",),
    "ciou": ("loss.box=ciou",),
    "l1": ("loss.box=l1",),
    "l2": ("loss.box=l2",),
    "smooth l1": ("loss.box=smooth_l1",),
    "l1, weight .2": ("loss.box=l1", "loss.box_weight=0.2"),
    "l2, weight .1": ("loss.box=l2", "loss.box_weight=0.1"),
    "smooth l1, weight .3": ("loss.box=smooth_l1", "loss.box_weight=0.3"),
    "repulsion .5": ("loss.repulsion_weight=0.5",),
    "dynamic": ("loss.assigner=dynamic",),
    "simota": ("loss.assigner=simota",),
    "atss": ("loss.assigner=atss",),
    "fcos": ("loss.assigner=fcos",),
    "fcos head": ("network.head=fcos",),
    "ssdlite head": ("network.head=ssdlite",),
    "yolo head": ("network.head=yolo",),
    "spp": ("network.spp=true",),
    "se": ("network.se=true",),
    "dropblock .1, 3": ("network.dropblock=0.1", "network.dropblock_size=3"),
    "hardswish": ("activation=hardswish",),
    "mish": ("activation=mish",),
    "swish": ("activation=swish",),
    "swish beta": ("activation=swish_beta",),
    "leaky relu": ("activation=leaky_relu",),
    "no ema": ("ema=false",),
    "batch 16": ("batch=16",),
    "sgd, lr .01, decay 5e-4": ("optimizer.name=sgd", "optimizer.lr=0.01", "optimizer.weight_decay=5e-4"),
    TEACHER: (),
}


def train(arguments: argparse.Namespace, name: str, seed: int) -> None:
    settings = [option for value in SWITCHES[name] for option in ("--set", value)]
    if name == TEACHER:
        settings += ["--teacher", arguments.teacher]
    run = ["--model", arguments.model, "--epochs", arguments.epochs, "--seed", seed, *arguments.options, *settings]
    train_once(folder_of(arguments.out, name, seed), arguments.data, *run)


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


def results(arguments: argparse.Namespace, name: str) -> Scores:
    return scores({seed: folder_of(arguments.out, name, seed) for seed in arguments.seeds})


def row(name: str, found: Scores, base: Scores) -> str:
    more = "" if name == BASE else difference(found, base)
    figures = f"{mean(found):.4f} | {spread(found)} | {mean(found, 'map50'):.4f}"
    return f"| {name} | {len(found)} | {figures} | {more} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="shufflenetv2_1.0x")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=list(SWITCHES), metavar="SWITCH")
    parser.add_argument("--teacher", type=Path, help="the checkpoint that teaches; without it the switch is left out")
    parser.add_argument("--parallel", type=int, default=1, help="runs at once")
    parser.add_argument("--table", action="store_true", help="train nothing")
    own, options = split(sys.argv[1:])
    arguments = parser.parse_args(own, argparse.Namespace(options=options))
    if arguments.only is None:
        arguments.only = [name for name in SWITCHES if name != TEACHER or arguments.teacher is not None]
    if TEACHER in arguments.only and arguments.teacher is None and not arguments.table:
        parser.error("--only teacher needs --teacher CHECKPOINT")
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
