"""Decoded images in memory: some for as long as the run lasts, and the latest of the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from edgedet.data.augment.labelled import LabelledImage
from edgedet.files import MEBIBYTE

MIN_RECENT_MIB = 192


class CacheSizes(NamedTuple):
    """Memory of one process for the pixels of decoded images, in bytes.

    Attributes:
        kept: for images that stay.
        recent: for the latest of the others.
    """

    kept: int
    recent: int


def cache_sizes(cache_mib: int, workers: int) -> CacheSizes:
    """The share of each of `workers` processes (0 is one, too) in `cache_mib`.

    Half is for the latest images, and 192 MiB at least, whatever `cache_mib` is: the images that mosaics are made of in
    all lanes of `BatchPlan.partners`, at 320 pixels.
    """
    processes = max(workers, 1)
    half = cache_mib * MEBIBYTE // 2
    return CacheSizes(half // processes, max(half, MIN_RECENT_MIB * MEBIBYTE) // processes)


class ImageCache:
    """Images by index, bounded in bytes.

    The first ones stay. Every epoch sees each image once in an order of its own, so that a cache of the latest alone
    drops most images before their next epoch. Of the others the latest that were loaded are kept: an image is wanted
    again within a few batches of its own or not at all (`BatchPlan.partners`), however often it was wanted until then.

    Args:
        load: gives the image of an index that is not there; the same at any time.
        sizes: how much is kept. An image of more bytes than that is loaded each time.
    """

    def __init__(self, load: Callable[[int], LabelledImage], sizes: CacheSizes) -> None:
        self._load = load
        self._kept: dict[int, LabelledImage] = {}
        self._kept_left = sizes.kept
        self._recent: dict[int, LabelledImage] = {}
        self._recent_left = sizes.recent

    def __getitem__(self, index: int) -> LabelledImage:
        if index in self._kept:
            return self._kept[index]
        if index in self._recent:
            return self._recent[index]
        loaded = self._load(index)
        self._add(index, loaded)
        return loaded

    def _add(self, index: int, loaded: LabelledImage) -> None:
        if loaded.image.nbytes <= self._kept_left:
            self._kept_left -= loaded.image.nbytes
            self._kept[index] = loaded
            return
        self._recent_left -= loaded.image.nbytes
        self._recent[index] = loaded
        while self._recent_left < 0:
            oldest = self._recent.pop(next(iter(self._recent)))
            self._recent_left += oldest.image.nbytes
