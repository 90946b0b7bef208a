"""Batches from loader processes: what is in them is theirs, and nothing is left of the memory they came through."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from edgedet.data.augment.config import AugmentConfig
from edgedet.data.find import read_dataset, split_of
from edgedet.data.image_cache import CacheSizes
from edgedet.train.loader import Batch, TrainingSet, make_loader
from edgedet.train.plan import BatchPlan


def loader(data: Path, workers: int, *, pin_memory: bool = False) -> Iterator[Batch]:
    samples = split_of(read_dataset(data), "train")
    plan = BatchPlan(len(samples), 4, 20, 0, 64, multi_scale=0.5)
    dataset = TrainingSet(
        samples, AugmentConfig(mixup=0.5), plan, mosaic_epochs=20, max_size=96, cache=CacheSizes(1 << 24, 0)
    )
    return make_loader(dataset, plan, 0, workers=workers, pin_memory=pin_memory)


def shared_memory() -> list[str]:
    """This process's shared memory, mapped or with a name."""
    mine = f"torch_{os.getpid()}_"
    mapped = [line for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines() if mine in line]
    return mapped + [str(file) for file in Path("/dev/shm").glob(f"{mine}*")]


def test_a_batch_keeps_its_images_while_later_ones_take_its_slot(tiny_data: Path) -> None:
    """Sixty batches of many sizes, in two times five slots."""
    for one, other in zip(loader(tiny_data, 0), list(loader(tiny_data, 2)), strict=True):
        assert one.keys == other.keys
        assert torch.equal(one.images, other.images)
        for ours, theirs in zip(one.targets, other.targets, strict=True):
            assert torch.equal(ours.boxes, theirs.boxes)
            assert torch.equal(ours.labels, theirs.labels)
            assert torch.equal(ours.shares, theirs.shares)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs Linux")
@pytest.mark.parametrize("batches", [0, 3, 60])
def test_nothing_is_left_behind_wherever_it_is_stopped(tiny_data: Path, batches: int) -> None:
    batch_of = loader(tiny_data, 2)
    for _, _ in zip(range(batches), batch_of, strict=False):
        assert len(shared_memory()) == 1
    del batch_of
    gc.collect()
    assert shared_memory() == []
    assert multiprocessing.active_children() == []


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs Linux")
def test_a_killed_worker_ends_the_run_with_an_error(tiny_data: Path) -> None:
    batch_of = loader(tiny_data, 2)
    next(batch_of)
    victim = multiprocessing.active_children()[0]
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match=r"DataLoader worker .*(killed|exited)"):
        list(batch_of)
    del batch_of
    gc.collect()
    assert shared_memory() == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_pinned_batches_have_the_same_images(tiny_data: Path) -> None:
    for one, other in zip(loader(tiny_data, 0), list(loader(tiny_data, 2, pin_memory=True)), strict=True):
        assert other.images.is_pinned()
        assert torch.equal(one.images, other.images)
