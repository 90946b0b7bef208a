"""Images a second that the loader decodes and augments, and that the training step takes.

    python benchmarks/loading.py DATA [--split train] [--workers 0 1 2]

Cold: every image is decoded for every tile of every mosaic. Cached: decoded images are kept, as in training.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from protocol import print_protocol

from edgedet.data.augment.config import AugmentConfig
from edgedet.data.clean import trainable
from edgedet.data.find import read_dataset, split_of
from edgedet.losses.gfl import gfl_loss
from edgedet.models.heads.gfl import anchor_points
from edgedet.models.zoo import build_detector
from edgedet.spec import Preprocess
from edgedet.train.config import OptimizerConfig
from edgedet.train.loader import TrainingSet, cache_bytes_per_process, make_loader
from edgedet.train.loop import to_device
from edgedet.train.memory import keep_freed_memory
from edgedet.train.optimizer import make_optimizer
from edgedet.train.plan import BatchPlan

BATCH, IMGSZ = 16, 320
WARMUP_EPOCHS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="train")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--models", nargs="+", default=["shufflenetv2_1.0x", "mobilenetv2_0.5", "squeezenet_1.1"])
    arguments = parser.parse_args()
    keep_freed_memory()
    dataset = read_dataset(arguments.data)
    samples, _ = trainable(split_of(dataset, arguments.split))
    print("| loader | mosaic | workers | images/s |\n| --- | --- | --- | --- |")
    for workers in arguments.workers:
        for cached in (False, True):
            for mosaic in (0.0, 1.0):
                rate = loading_rate(samples, mosaic=mosaic, workers=workers, cache_mib=1024 if cached else 0)
                print(f"| {'cached' if cached else 'cold'} | {mosaic:.0f} | {workers} | {rate:.0f} |", flush=True)
    print("\n| training step | precision | images/s |\n| --- | --- | --- |")
    for model in arguments.models:
        for precision in (None, torch.bfloat16):
            rate = training_rate(model, len(dataset.class_names), samples, precision)
            print(f"| {model} | {'float32' if precision is None else 'bfloat16'} | {rate:.1f} |", flush=True)
    print_protocol("edgedet", "torch", imgsz=IMGSZ, batch=BATCH, threads=torch.get_num_threads())


def _loader(samples, *, mosaic: float, workers: int, cache_mib: int, epochs: int):
    plan = BatchPlan(len(samples), BATCH, epochs, 0, IMGSZ)
    training_set = TrainingSet(
        samples,
        AugmentConfig(mosaic=mosaic),
        mosaic_epochs=epochs,
        seed=0,
        max_size=IMGSZ,
        cache_bytes=cache_bytes_per_process(cache_mib, workers),
    )
    return plan, make_loader(training_set, plan, 0, workers=workers, pin_memory=False)


def loading_rate(samples, *, mosaic: float, workers: int, cache_mib: int) -> float:
    """Images a second of the epochs after the cache is warm."""
    plan, loader = _loader(samples, mosaic=mosaic, workers=workers, cache_mib=cache_mib, epochs=WARMUP_EPOCHS + 4)
    first = WARMUP_EPOCHS * plan.steps_per_epoch
    started = 0.0
    for step, _ in enumerate(loader):
        if step == first:
            started = time.perf_counter()
    return (plan.total_steps - 1 - first) * BATCH / (time.perf_counter() - started)


def training_rate(model: str, classes: int, samples, precision: torch.dtype | None) -> float:
    """Images a second of the training step alone: the best of five, each on another real batch."""
    _, loader = _loader(samples, mosaic=1.0, workers=0, cache_mib=1024, epochs=1)
    detector = build_detector(model, classes).train().to(memory_format=torch.channels_last)
    optimizer = make_optimizer(detector, OptimizerConfig())
    points, strides = anchor_points(IMGSZ, IMGSZ, detector.strides)
    best = float("inf")
    for step, batch in zip(range(6), loader, strict=False):
        images, targets = to_device(batch, Preprocess(height=IMGSZ, width=IMGSZ), torch.device("cpu"))
        started = time.perf_counter()
        with torch.autocast("cpu", dtype=precision, enabled=precision is not None):
            logits = detector(images)
        optimizer.zero_grad()
        gfl_loss(logits, points, strides, targets).total.backward()
        optimizer.step()
        if step:
            best = min(best, time.perf_counter() - started)
    return BATCH / best


if __name__ == "__main__":
    main()
