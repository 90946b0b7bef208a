"""Images a second that the loader decodes and augments.

    python benchmarks/loading.py DATA [--split train] [--workers 0 1 2]

Cold: every image is decoded for every tile of every mosaic. Cached: decoded images are kept, as in training. A row's
images/s are those of all workers, and of one of them.

Where the package `ultralytics` can be imported, its loader is timed beside ours, on the same images, with its own
augmentation at its defaults, of which the mosaic is one too. It is AGPL, and no dependency: `peer_environment.py` makes
an environment that has it.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from protocol import print_protocol

from edgedet.data.augment.config import AugmentConfig
from edgedet.data.clean import trainable
from edgedet.data.convert import convert
from edgedet.data.find import read_dataset, split_of
from edgedet.data.image_cache import cache_sizes
from edgedet.train.loader import TrainingSet, make_loader
from edgedet.train.memory import keep_freed_memory
from edgedet.train.plan import BatchPlan

BATCH, IMGSZ = 16, 320
WARMUP_EPOCHS, TIMED_EPOCHS = 3, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="train")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    keep_freed_memory()
    dataset = read_dataset(arguments.data)
    samples, _ = trainable(split_of(dataset, arguments.split))
    print("| loader | images | mosaic | workers | images/s | a worker |\n| --- | --- | --- | --- | --- | --- |")
    packages = ["edgedet", "torch", "opencv-python-headless"]
    for workers in arguments.workers:
        for cached in (False, True):
            for mosaic in (0.0, 1.0):
                rate = loading_rate(samples, mosaic=mosaic, workers=workers, cache_mib=1024 if cached else 0)
                print_rate("edgedet", cached, mosaic, workers, rate)
    if importlib.util.find_spec("ultralytics") is not None:
        packages.append("ultralytics")
        with tempfile.TemporaryDirectory() as folder:
            converted = Path(folder) / "yolo"
            convert(dataset, "yolo", converted)
            for workers in arguments.workers:
                for cached in (False, True):
                    for mosaic in (0.0, 1.0):
                        rate = ultralytics_rate(converted, arguments.split, mosaic, workers, cached)
                        print_rate("ultralytics", cached, mosaic, workers, rate)
    print_protocol(*packages, imgsz=IMGSZ, batch=BATCH, threads=torch.get_num_threads())


def print_rate(loader: str, cached: bool, mosaic: float, workers: int, rate: float) -> None:
    """A row of the table; without workers the main process loads."""
    images = "cached" if cached else "cold"
    print(f"| {loader} | {images} | {mosaic:.0f} | {workers} | {rate:.0f} | {rate / max(workers, 1):.0f} |", flush=True)


def _loader(samples, *, mosaic: float, workers: int, cache_mib: int, epochs: int):
    plan = BatchPlan(len(samples), BATCH, epochs, 0, IMGSZ)
    training_set = TrainingSet(
        samples,
        AugmentConfig(mosaic=mosaic),
        plan,
        mosaic_epochs=epochs,
        max_size=IMGSZ,
        cache=cache_sizes(cache_mib, workers),
    )
    return plan, make_loader(training_set, plan, 0, workers=workers, pin_memory=False)


def loading_rate(samples, *, mosaic: float, workers: int, cache_mib: int) -> float:
    """Images a second of the epochs after the cache is warm."""
    epochs = WARMUP_EPOCHS + TIMED_EPOCHS
    plan, loader = _loader(samples, mosaic=mosaic, workers=workers, cache_mib=cache_mib, epochs=epochs)
    return _rate((len(batch.keys) for batch in loader), WARMUP_EPOCHS * plan.steps_per_epoch)


def ultralytics_rate(converted: Path, split: str, mosaic: float, workers: int, cached: bool) -> float:
    """The same of Ultralytics' loader, over a dataset in YOLO's format."""
    from ultralytics.cfg import get_cfg
    from ultralytics.data import build_dataloader, build_yolo_dataset
    from ultralytics.data.utils import check_det_dataset

    cache = "ram" if cached else False
    settings = get_cfg(overrides={"task": "detect", "imgsz": IMGSZ, "mosaic": mosaic, "cache": cache})
    data = check_det_dataset(str(converted / "data.yaml"))
    dataset = build_yolo_dataset(settings, data[split], BATCH, data, mode="train")
    loader = build_dataloader(dataset, BATCH, workers, shuffle=True)
    sizes = (len(batch["img"]) for _ in range(WARMUP_EPOCHS + TIMED_EPOCHS) for batch in loader)
    return _rate(sizes, WARMUP_EPOCHS * len(loader))


def _rate(sizes: Iterable[int], first: int) -> float:
    """Images a second in the batches after number `first`, given how many each has."""
    images, started = 0, 0.0
    for step, size in enumerate(sizes):
        if step == first:
            started = time.perf_counter()
        elif step > first:
            images += size
    return images / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
