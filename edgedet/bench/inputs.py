"""What a model is fed while it is measured: real images where there are any, and never zeros."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.bench.settings import Input
from edgedet.data.find import DEFAULT_SPLIT, read_dataset, split_of
from edgedet.data.images import decode_image
from edgedet.data.sample import Dataset
from edgedet.errors import EdgedetError
from edgedet.files import MEBIBYTE, read_bytes
from edgedet.runtime.detector import Detector

GENERATED_SIZE = (480, 640)
FILE_LIMIT = 256 * MEBIBYTE
TENSOR_LIMIT = 1024 * MEBIBYTE


@dataclass(frozen=True)
class Picture:
    """An image as it comes.

    Attributes:
        name: where it is from.
        data: the bytes of its file.
    """

    name: str
    data: bytes

    def decoded(self) -> NDArray[np.uint8]:
        """The image, uint8 `[h, w, 3]` BGR."""
        return decode_image(self.data, where=self.name)


@dataclass(frozen=True)
class Feed:
    """What was read.

    Attributes:
        source: what it is, with its digest.
        pictures: the images, at least one; none where a tensor is fed.
        tensor: as the network takes it, where it is one.
    """

    source: Input
    pictures: tuple[Picture, ...]
    tensor: NDArray[np.float32] | None = None

    def batch(self, detector: Detector, count: int) -> NDArray[np.float32]:
        """The network's input `[count, 3, H, W]`: the first images, again from the first where there are too few."""
        if self.tensor is not None:
            return self.tensor
        images = [self.pictures[place % len(self.pictures)].decoded() for place in range(count)]
        return detector.preprocess(images)[0]


def read_input(source: Input, shape: Sequence[int]) -> Feed:
    """Reads what the model is to be fed.

    Args:
        source: what that is; a digest in it, of a protocol that is reproduced, must be that of what is read.
        shape: of the network's input `[B, 3, H, W]`, for a tensor.

    Raises:
        EdgedetError: it cannot be read, is another than it was, or does not fit.
    """
    if source.kind == "tensor":
        return _read_tensor(source, shape)
    pictures = tuple(_pictures(source))
    if not pictures:
        raise EdgedetError("holds no image to feed the model with", where=source.path)
    for picture in pictures:
        picture.decoded()  # a broken one is said to be so before anything is measured
    return Feed(_with_digest(source, [picture.data for picture in pictures]), pictures)


def generated_image() -> NDArray[np.uint8]:
    """A picture of 640x480 with texture at all scales; the same bytes every time."""
    height, width = GENERATED_SIZE
    random = np.random.default_rng(0)
    layers = [
        cv2.resize(random.random((height // size, width // size, 3), np.float32), (width, height))
        for size in (1, 8, 60)
    ]
    picture: NDArray[np.uint8] = (np.mean(layers, axis=0) * 255).astype(np.uint8)
    return picture


def benchmark_split(dataset: Dataset, split: str | None) -> str:
    """The split that is measured on: the one asked for, else `val`, else the only one, else the largest."""
    if split is not None:
        return split
    if dataset.splits.get(DEFAULT_SPLIT):
        return DEFAULT_SPLIT
    return max(dataset.splits, key=lambda name: len(dataset.splits[name]), default=DEFAULT_SPLIT)


def _pictures(source: Input) -> Iterator[Picture]:
    if source.kind == "generated":
        encoded = cv2.imencode(".png", generated_image())[1]
        yield Picture("generated", encoded.tobytes())
        return
    for path in _files(source):
        yield Picture(str(path), read_bytes(path, limit=FILE_LIMIT))


def _files(source: Input) -> Sequence[Path]:
    assert source.path is not None
    if source.kind == "image":
        return [source.path]
    dataset = read_dataset(source.path)
    samples = split_of(dataset, benchmark_split(dataset, source.split))
    return [sample.image for sample in samples[: source.images]]


def _read_tensor(source: Input, shape: Sequence[int]) -> Feed:
    assert source.path is not None
    data = read_bytes(source.path, limit=TENSOR_LIMIT)
    expected = 4 * int(np.prod(shape))
    if len(data) != expected:
        what = f"holds {len(data)} bytes; float32 {'x'.join(map(str, shape))} takes {expected}"
        raise EdgedetError(what, where=source.path, fix="give the raw values, as trtexec --loadInputs takes them")
    tensor = np.frombuffer(data, np.float32).reshape(tuple(shape))
    if not np.isfinite(tensor).all():
        raise EdgedetError("holds values that are not finite", where=source.path)
    return Feed(_with_digest(source, [data]), (), tensor)


def _with_digest(source: Input, contents: Sequence[bytes]) -> Input:
    digest = hashlib.sha256()
    for content in contents:
        digest.update(hashlib.sha256(content).digest())
    found = digest.hexdigest()
    if source.sha256 not in (None, found):
        fix = "give the same images, or measure without --protocol"
        raise EdgedetError("is not the input that the protocol was recorded with", where=source.path, fix=fix)
    return source.model_copy(update={"sha256": found})
