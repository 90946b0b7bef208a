"""Training batches: decoded, cached, augmented in worker processes, bit for bit the same with any number of them."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from edgedet.data.augment.config import AugmentConfig
from edgedet.data.augment.geometric import PAD_VALUE
from edgedet.data.augment.labelled import LabelledImage
from edgedet.data.augment.layouts import fit
from edgedet.data.augment.pipeline import augment, draw_sources
from edgedet.data.image_cache import CacheSizes, ImageCache
from edgedet.data.images import read_smaller_image, tried, try_read_image
from edgedet.data.sample import Sample
from edgedet.losses.targets import Targets
from edgedet.train.plan import BatchPlan, SampleKey, augment_generator
from edgedet.train.ring import Ring, Slot

BATCHES_AHEAD = 4


@dataclass(frozen=True)
class Batch:
    """A training batch.

    Attributes:
        images: `[B, S, S, 3]` uint8, BGR.
        targets: of each image.
        keys: of each image.
    """

    images: Tensor
    targets: list[Targets]
    keys: list[SampleKey]

    def pin_memory(self) -> Batch:
        """Used by the loader, so that the copy to a GPU overlaps with computing."""
        return Batch(self.images.pin_memory(), self.targets, self.keys)


class TrainingSet(Dataset[tuple[SampleKey, LabelledImage]]):
    """Augmented images by `SampleKey`.

    Args:
        samples: with usable boxes (`edgedet.data.clean`).
        plan: of the keys; its seed is that of the augmentation.
        config: of the epochs before `mosaic_epochs`; later ones see no mosaics, and no splits, Mixup and CutMix either.
        mosaic_epochs: number of epochs with images made of several.
        max_size: largest side of the input; images are kept no larger.
        cache: memory for decoded images in each process.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        config: AugmentConfig,
        plan: BatchPlan,
        *,
        mosaic_epochs: int,
        max_size: int,
        cache: CacheSizes,
    ) -> None:
        self._samples = samples
        self._config = config
        self._config_of_single_images = config.of_single_images()
        self._plan = plan
        self._mosaic_epochs = mosaic_epochs
        self.max_size = max_size
        self._images = ImageCache(self._load, cache)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, key: SampleKey) -> tuple[SampleKey, LabelledImage]:
        config, rng = self._augmentation(key)
        return key, augment(self._images.__getitem__, self._plan.partners(key), key.sample, key.size, config, rng)

    def images(self, key: SampleKey) -> list[Path]:
        """The image files that the augmented image of a key is made of."""
        drawn = draw_sources(self._plan.partners(key), key.sample, *self._augmentation(key))
        return [self._samples[index].image for index in drawn.samples]

    def _augmentation(self, key: SampleKey) -> tuple[AugmentConfig, np.random.Generator]:
        config = self._config if key.epoch < self._mosaic_epochs else self._config_of_single_images
        return config, augment_generator(self._plan.seed, key)

    def _load(self, index: int) -> LabelledImage:
        return load_for_training(self._samples[index], self.max_size)


def read_image_or_grey(path: Path) -> NDArray[np.uint8]:
    """The image in a file; where it cannot be read, a grey one and a warning."""
    image = try_read_image(path)
    return np.full((64, 64, 3), PAD_VALUE, dtype=np.uint8) if image is None else image


def load_for_training(sample: Sample, max_size: int) -> LabelledImage:
    """A sample's image, no larger than `max_size` pixels a side, with the boxes that are to be learned.

    An image that cannot be read becomes a grey one without objects, and a warning: one broken file does not end
    a long run (`edgedet data check` finds it before).
    """
    found = tried(lambda: read_smaller_image(sample.image, max_size))
    if found is None:
        return LabelledImage(
            np.full((max_size, max_size, 3), PAD_VALUE, dtype=np.uint8),
            np.zeros((0, 4), dtype=np.float32),
            np.zeros(0, dtype=np.int64),
        )
    image, reduction = found
    learned = ~sample.ignore
    height, width = image.shape[:2]
    boxes = np.clip(sample.boxes[learned] / reduction, 0, np.array([width, height, width, height], dtype=np.float32))
    zoom = min(1.0, fit(height, width, max_size))
    if zoom < 1.0:
        resized_width, resized_height = max(1, round(width * zoom)), max(1, round(height * zoom))
        image = cv2.resize(image, (resized_width, resized_height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
        scale_x, scale_y = resized_width / width, resized_height / height
        boxes = boxes * np.array([scale_x, scale_y, scale_x, scale_y], dtype=np.float32)
    return LabelledImage(image, boxes.astype(np.float32), sample.labels[learned])


Item = tuple[SampleKey, LabelledImage]


def collate(items: Sequence[Item]) -> Batch:
    """Stacks augmented images of one size."""
    images: NDArray[np.uint8] = np.stack([labelled.image for _, labelled in items])
    return Batch(torch.from_numpy(images), [_targets(item) for _, item in items], [key for key, _ in items])


def _targets(labelled: LabelledImage) -> Targets:
    weights = None if labelled.weights is None else torch.from_numpy(labelled.weights)
    return Targets(torch.from_numpy(labelled.boxes), torch.from_numpy(labelled.labels), weights)


@dataclass(frozen=True)
class _Sent:
    """A batch on its way from a loader process: the items have no pixels, and no tensors, which are slow to send."""

    slot: Slot
    items: Sequence[Item]

    def pin_memory(self) -> Batch:
        return self._batch(Ring.look(self.slot).pin_memory())

    def received(self) -> Batch:
        return self._batch(Ring.look(self.slot).clone())

    def _batch(self, images: Tensor) -> Batch:
        return Batch(images, [_targets(item) for _, item in self.items], [key for key, _ in self.items])


def _send(ring: Ring, items: Sequence[Item]) -> _Sent:
    slot = ring.fill([labelled.image for _, labelled in items])
    return _Sent(slot, [(key, replace(labelled, image=labelled.image[:0])) for key, labelled in items])


class _PlannedBatches(Sampler[list[SampleKey]]):
    def __init__(self, plan: BatchPlan, first_step: int) -> None:
        self._plan = plan
        self._first_step = first_step

    def __iter__(self) -> Iterator[list[SampleKey]]:
        return self._plan.batches_from(self._first_step)

    def __len__(self) -> int:
        return self._plan.total_steps - self._first_step


def make_loader(
    dataset: TrainingSet, plan: BatchPlan, first_step: int, *, workers: int, pin_memory: bool
) -> Iterator[Batch]:
    """The batches from `first_step` to the end of the run: the workers live, and read ahead, across epochs.

    Raises:
        RuntimeError: from torch, when a worker was killed.
    """
    batches = _PlannedBatches(plan, first_step)
    if workers == 0:
        yield from DataLoader(dataset, batch_sampler=batches, collate_fn=collate, pin_memory=pin_memory)
        return
    share = plan.batch // plan.world_size
    ring = Ring(workers, BATCHES_AHEAD, share * dataset.max_size**2 * 3)
    loader = DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=partial(_send, ring),
        pin_memory=pin_memory,
        worker_init_fn=_start_worker,
        prefetch_factor=BATCHES_AHEAD,
    )
    for batch in loader:
        yield batch if isinstance(batch, Batch) else batch.received()


def _start_worker(worker: int) -> None:
    # A Ctrl-C or SIGTERM goes to the whole process group; the main process finishes its step and then ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
