"""How the images of a batch come from a loader process: in memory that is shared once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import ClassVar, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import get_worker_info


class Slot(NamedTuple):
    """Where the images of a batch lie: what is sent in their place."""

    ring: int
    worker: int
    number: int
    shape: tuple[int, ...]


class Ring:
    """Slots for images of batches, which the loader processes fill and the main process empties, again and again.

    A tensor that goes through torch's queues takes new shared memory each time, and the first touch of each of its
    pages costs both processes a fault.

    Nothing has to be locked: a process has slots of its own, one more than the batches it may be ahead. So what it
    fills is never the one that is being emptied, as long as the main process copies each batch before it asks for the
    next. The memory has no name (torch removes it at once), so that nothing is left behind, however the processes end.

    Args:
        workers: number of loader processes.
        ahead: how many batches each may have been asked for that were not taken.
        slot_bytes: of the largest batch.
    """

    # Slots are looked up by the thread that pins memory, too, which is given nothing but what was sent.
    _of_this_process: ClassVar[WeakValueDictionary[int, Ring]] = WeakValueDictionary()
    _numbers = itertools.count()

    def __init__(self, workers: int, ahead: int, slot_bytes: int) -> None:
        self._memory = torch.empty((workers, ahead + 1, slot_bytes), dtype=torch.uint8).share_memory_()
        self._number = next(Ring._numbers)
        self._filled = 0
        Ring._of_this_process[self._number] = self

    def fill(self, images: Sequence[NDArray[np.uint8]]) -> Slot:
        """Stacks a batch's images into the next slot of this loader process."""
        info = get_worker_info()
        assert info is not None, "only loader processes fill the ring"
        slot = Slot(self._number, info.id, self._filled % self._memory.shape[1], (len(images), *images[0].shape))
        np.stack(images, out=self._view(slot).numpy())
        self._filled += 1
        return slot

    @staticmethod
    def look(slot: Slot) -> Tensor:
        """The images in a slot, uint8 and of its shape, to be copied before the next batch is asked for."""
        return Ring._of_this_process[slot.ring]._view(slot)

    def _view(self, slot: Slot) -> Tensor:
        return self._memory[slot.worker, slot.number, : np.prod(slot.shape)].view(slot.shape)
