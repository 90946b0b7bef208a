"""Which images each step sees: a pure function of the seed and the step, so that a run can go on from any step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Each stream of random numbers has its own tag, so that no two draw the same numbers.
ORDER_STREAM, AUGMENT_STREAM, SIZE_STREAM, DROP_STREAM = range(4)
SIZE_MULTIPLE = 32

# How many samples an image's partners are drawn from, and in how many lanes an epoch's batches are dealt out for that.
PARTNERS = 64
MAX_LANES = 8
MIN_LANE_SAMPLES = 4 * PARTNERS


class SampleKey(NamedTuple):
    """One training image: what is loaded, and all that its augmentation depends on besides the settings."""

    epoch: int
    position: int
    sample: int
    size: int


@dataclass(frozen=True)
class BatchPlan:
    """The batches of a whole run.

    Every epoch is a permutation of the samples; its last batch is filled up from the permutation's start, because
    BatchNorm does badly on a few images.

    Attributes:
        samples: number of training samples.
        batch: images a step, over all processes.
        epochs: passes over the samples.
        seed: of the order and the sizes.
        imgsz: side of the input in pixels.
        multi_scale: spread of the side, see `TrainConfig`.
        rank: of this process.
        world_size: number of processes; divides `batch`.
    """

    samples: int
    batch: int
    epochs: int
    seed: int
    imgsz: int
    multi_scale: float = 0.0
    rank: int = 0
    world_size: int = 1

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch."""
        return math.ceil(self.samples / self.batch)

    @property
    def total_steps(self) -> int:
        """Steps of the run."""
        return self.steps_per_epoch * self.epochs

    def keys(self, step: int) -> list[SampleKey]:
        """This process's share of the batch of `step`."""
        epoch, step_of_epoch = divmod(step, self.steps_per_epoch)
        order = _order(self.seed, epoch, self.samples)
        share = self.batch // self.world_size
        first = step_of_epoch * self.batch + self.rank * share
        size = self.size(step)
        return [
            SampleKey(epoch, position, int(order[position % self.samples]), size)
            for position in range(first, first + share)
        ]

    @property
    def lanes(self) -> int:
        """In how many lanes the batches of an epoch are dealt out: 1, 2, 4 or 8."""
        most = max(1, min(MAX_LANES, self.samples // MIN_LANE_SAMPLES))
        return 1 << (most.bit_length() - 1)

    def partners(self, key: SampleKey) -> list[int]:
        """The samples that may be joined with that of a key in one image: the 64 before it in its lane.

        At the start of a lane it is the lane's first 64, or all where there are fewer. As each epoch has an order of
        its own, over the epochs every sample is as likely as any other. An image is so wanted again soon after it was
        decoded or not at all, and a cache of some hundred images is enough to decode each once an epoch.

        A lane is every `lanes`-th batch of an epoch. Loader processes take batches in turn, so that 2, 4 or 8 of them
        have lanes of their own, and none decodes an image that another one has. The partners depend on no number of
        processes.

        Args:
            key: of this plan's samples and epochs; its position is below `steps_per_epoch * batch`.
        """
        step, slot = divmod(key.position, self.batch)
        turn, lane = divmod(step, self.lanes)
        steps_of_lane = len(range(lane, self.steps_per_epoch, self.lanes))
        first = max(0, turn * self.batch + slot - PARTNERS)
        turns, slots = np.divmod(np.arange(first, min(first + PARTNERS, steps_of_lane * self.batch)), self.batch)
        positions = (turns * self.lanes + lane) * self.batch + slots
        partners: list[int] = _order(self.seed, key.epoch, self.samples)[positions % self.samples].tolist()
        return partners

    def size(self, step: int) -> int:
        """Side of the input at `step`."""
        if self.multi_scale == 0:
            return self.imgsz
        rng = np.random.default_rng([self.seed, SIZE_STREAM, step])
        side = self.imgsz * rng.uniform(1 - self.multi_scale, 1 + self.multi_scale)
        return max(SIZE_MULTIPLE, round(side / SIZE_MULTIPLE) * SIZE_MULTIPLE)

    def batches_from(self, step: int) -> Iterator[list[SampleKey]]:
        """The batches from `step` to the end of the run."""
        return (self.keys(later) for later in range(step, self.total_steps))


def augment_generator(seed: int, key: SampleKey) -> np.random.Generator:
    """The source of every random choice in the augmentation of one image."""
    return np.random.default_rng([seed, AUGMENT_STREAM, key.epoch, key.position, key.sample])


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, samples: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, ORDER_STREAM, epoch]).permutation(samples)
