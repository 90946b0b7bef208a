"""Images a second that the loader decodes and augments as 4-image mosaics, beside Ultralytics' loader.

    python benchmarks/loading.py DATA [--split train] [--copies 8] [--workers 0 1 2] [--rounds 7]

Cache: decoded images are kept in memory, as in training where they fit into `cache_mib`. Disk: with `cache_mib` 0, so
that only the latest are. A split is read as often as `--copies` says, by links to its files, because a cache of the
latest images holds much of a small one.

A CPU second is one of all processes together: what one core loads, whatever else the machine does, while images/s are
also those of a machine with something else to do. All loaders run in turn, `--rounds` times; figures are medians, and
ours is compared with the peer's of the same round.

Where the package `ultralytics` can be imported, its loader is timed beside ours, on the same images, with its own
augmentation at its defaults, of which the mosaic is one too. It is AGPL, and no dependency: `peer_environment.py` makes
an environment that has it.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import torch
from protocol import print_protocol

from edgedet.data.augment.config import AugmentConfig
from edgedet.data.clean import trainable
from edgedet.data.convert import convert
from edgedet.data.find import read_dataset, split_of
from edgedet.data.image_cache import cache_sizes
from edgedet.data.sample import Sample
from edgedet.train.loader import TrainingSet, make_loader
from edgedet.train.memory import keep_freed_memory
from edgedet.train.plan import BatchPlan

BATCH, IMGSZ, CACHE_MIB = 16, 320, 1024
# More than both loaders read ahead of what is asked for, for each worker.
AHEAD = 5
# More than the images that are decoded at once when an epoch begins.
WINDOW_BATCHES = 40


@dataclass
class Contender:
    """A loader in some setting, its endless sequence of batch sizes, and its figures in each round."""

    loader: str
    cached: bool
    workers: int
    sizes: Iterator[int]
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)

    def warm_up(self, samples: int) -> None:
        """Fills the cache, or the window of the latest images."""
        self._take(samples // BATCH + 1 if self.cached else WINDOW_BATCHES)

    def measure(self, batches: int) -> None:
        """Times `batches`, after those that were made while others were timed, and without those that are begun."""
        wait_for_children()
        self._take(AHEAD * self.workers)
        seconds, cpu_seconds = time.perf_counter(), cpu_time()
        images = self._take(batches)
        self.seconds.append((time.perf_counter() - seconds) / images)
        self.cpu_seconds.append((cpu_time() - cpu_seconds) / images)

    def _take(self, batches: int) -> int:
        return sum(itertools.islice(self.sizes, batches))


def wait_for_children() -> None:
    """Until no process that this one started computes: those of the contender before have read ahead by then."""
    before = -1.0
    while before < (before := children_cpu_time()):
        time.sleep(0.1)


def cpu_time() -> float:
    """CPU seconds of this process and of those that it started, in user code and in the kernel."""
    return time.process_time() + children_cpu_time()


def children_cpu_time() -> float:
    """CPU seconds of the processes that this one started."""
    children = [child.pid for child in multiprocessing.active_children() if child.pid is not None]
    # Linux's number of another process's clock: clock_getcpuclockid(3), which Python does not call.
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in children)


def edgedet_sizes(samples: Sequence[Sample], workers: int, cached: bool) -> Iterator[int]:
    """How many images each batch has of a long run."""
    plan = BatchPlan(len(samples), BATCH, 1000, 0, IMGSZ)
    training_set = TrainingSet(
        samples,
        AugmentConfig(),
        plan,
        mosaic_epochs=plan.epochs,
        max_size=IMGSZ,
        cache=cache_sizes(CACHE_MIB if cached else 0, workers),
    )
    return (len(batch.keys) for batch in make_loader(training_set, plan, 0, workers=workers, pin_memory=False))


def ultralytics_sizes(dataset: Path, split: str, workers: int, cached: bool) -> Iterator[int]:
    """The same of Ultralytics' loader, over a dataset in YOLO's format."""
    from ultralytics.cfg import get_cfg
    from ultralytics.data import build_dataloader, build_yolo_dataset
    from ultralytics.data.utils import check_det_dataset

    settings = get_cfg(overrides={"task": "detect", "imgsz": IMGSZ, "cache": "ram" if cached else False})
    data = check_det_dataset(str(dataset / "data.yaml"))
    images = build_yolo_dataset(settings, data[split], BATCH, data, mode="train")
    loader = build_dataloader(images, BATCH, workers, shuffle=True)
    return (len(batch["img"]) for _ in itertools.count() for batch in loader)


def multiply(dataset: Path, split: str, copies: int) -> None:
    """Links each image of a split in YOLO's format, and its labels, under other names."""
    for kind in ("images", "labels"):
        for file in list((dataset / kind / split).iterdir()):
            for copy in range(1, copies):
                os.link(file, file.with_name(f"{file.stem}-{copy}{file.suffix}"))


def report(contenders: Sequence[Contender]) -> None:
    """A row for each; speeds are the peer's time by ours, in CPU seconds, as the median and the range of rounds."""
    print("| loader | images from | workers | images/s | images a CPU second | speed, the peer's = 1 |")
    print("| --- | --- | --- | --- | --- | --- |")
    for one in contenders:
        peers = [
            other
            for other in contenders
            if other.loader != one.loader and (other.cached, other.workers) == (one.cached, one.workers)
        ]
        speed = "-"
        if peers and one.loader == "edgedet":
            ratios = [theirs / ours for ours, theirs in zip(one.cpu_seconds, peers[0].cpu_seconds, strict=True)]
            speed = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        rate, cpu_rate = 1 / statistics.median(one.seconds), 1 / statistics.median(one.cpu_seconds)
        source = "cache" if one.cached else "disk"
        print(f"| {one.loader} | {source} | {one.workers} | {rate:.0f} | {cpu_rate:.0f} | {speed} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="train")
    parser.add_argument("--copies", type=int, default=8, help="how often each image is in the dataset")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batches", type=int, default=30, help="batches that are timed in a round")
    arguments = parser.parse_args()
    keep_freed_memory()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    with_peer = importlib.util.find_spec("ultralytics") is not None
    with tempfile.TemporaryDirectory() as folder:
        linked = Path(folder) / "yolo"
        convert(read_dataset(arguments.data), "yolo", linked)
        multiply(linked, arguments.split, arguments.copies)
        samples, _ = trainable(split_of(read_dataset(linked), arguments.split))
        contenders = []
        for workers, cached in itertools.product(arguments.workers, (True, False)):
            contenders.append(Contender("edgedet", cached, workers, edgedet_sizes(samples, workers, cached)))
            if with_peer:
                sizes = ultralytics_sizes(linked, arguments.split, workers, cached)
                contenders.append(Contender("ultralytics", cached, workers, sizes))
        for contender in contenders:
            contender.warm_up(len(samples))
        for _ in range(arguments.rounds):
            for contender in contenders:
                contender.measure(arguments.batches)
    report(contenders)
    packages = ["edgedet", "torch", "opencv-python-headless", *(["ultralytics"] if with_peer else [])]
    print_protocol(*packages, imgsz=IMGSZ, batch=BATCH, threads=1, images=len(samples), rounds=arguments.rounds)


if __name__ == "__main__":
    main()
