from __future__ import annotations

import numpy as np
import pytest

from edgedet.data.augment.labelled import LabelledImage
from edgedet.data.image_cache import CacheSizes, ImageCache, cache_sizes

MIB = 1 << 20


def cache_of(kept: int, recent: int, side: int = 10) -> tuple[ImageCache, list[int]]:
    """A cache of so many images of `side` pixels, each filled with its index, and the indices that were loaded."""
    loaded: list[int] = []

    def load(index: int) -> LabelledImage:
        loaded.append(index)
        image = np.full((side, side, 3), index, dtype=np.uint8)
        return LabelledImage(image, np.zeros((0, 4), dtype=np.float32), np.zeros(0, dtype=np.int64))

    return ImageCache(load, CacheSizes(kept * 300, recent * 300)), loaded


def test_it_gives_the_images_of_the_indices() -> None:
    cache, _ = cache_of(kept=2, recent=2)
    for index in np.random.default_rng(0).integers(9, size=200).tolist():
        assert (cache[index].image == index).all()


def test_the_first_images_stay() -> None:
    cache, loaded = cache_of(kept=3, recent=0)
    for index in [*range(6)] * 3:
        cache[index]
    assert loaded == [0, 1, 2, 3, 4, 5, 3, 4, 5, 3, 4, 5]


def test_of_the_others_the_latest_stay() -> None:
    cache, loaded = cache_of(kept=1, recent=3)
    for index in (0, 1, 2, 3, 1, 4, 2, 3, 4, 0):
        cache[index]
    assert loaded == [0, 1, 2, 3, 4]
    cache[1]
    assert loaded[-1] == 1


def test_images_that_are_larger_than_the_cache_are_loaded_each_time() -> None:
    cache, loaded = cache_of(kept=1, recent=1, side=20)
    for _ in range(3):
        cache[7]
    assert loaded == [7, 7, 7]


@pytest.mark.parametrize(
    ("cache_mib", "workers", "kept", "recent"), [(0, 0, 0, 192), (0, 4, 0, 48), (1024, 1, 512, 512), (100, 2, 25, 96)]
)
def test_the_processes_share_the_memory(cache_mib: int, workers: int, kept: int, recent: int) -> None:
    assert cache_sizes(cache_mib, workers) == (kept * MIB, recent * MIB)
