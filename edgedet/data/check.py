"""Every fault of a dataset: what its reader reported, what its images hold, its boxes, and how its splits overlap."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgedet.data import faults as kinds
from edgedet.data.find import split_of
from edgedet.data.image_header import read_header
from edgedet.data.images import MAX_BYTES, decode_image
from edgedet.data.reading import shown
from edgedet.data.sample import Dataset, Fault, Sample
from edgedet.errors import EdgedetError
from edgedet.files import read_bytes
from edgedet.progress import Track, no_progress

OUTSIDE_TOLERANCE = 1.0
"""Pixels by which a box may reach out of its image: tools disagree on whether pixels count from 0 or from 1."""

_DECIMALS = 2
_MAX_THREADS = 8


@dataclass(frozen=True)
class _ImageState:
    """What reading an image file told: its upright size and digest, or what is wrong with it."""

    size: tuple[int, int] | None = None
    is_turned: bool = False
    digest: str = ""
    fault_kind: str = ""
    message: str = ""


def check_dataset(dataset: Dataset, track: Track = no_progress) -> tuple[Fault, ...]:
    """All faults (`edgedet.data.faults` lists the kinds), by kind and then in the order of the splits.

    Every image is read and decoded. A split that is the union of others (VOC's `trainval`) adds no faults of its own.
    """
    unions = union_splits(dataset)
    splits = {split: samples for split, samples in dataset.splits.items() if split not in unions}
    states = _image_states(splits, track)
    root = _folder(dataset)
    found = [
        *dataset.faults,
        *_empty_splits(dataset),
        *(
            fault
            for split, samples in splits.items()
            for sample in samples
            for fault in _sample_faults(sample, states[sample.image], split, root, is_voc=dataset.format == "voc")
        ),
        *_copies(splits, states, root),
        *_untrained_classes(splits, dataset.class_names),
    ]
    unique: dict[tuple[str, str, str], Fault] = {}
    for fault in found:
        unique.setdefault((fault.kind, fault.where, fault.message), fault)
    order = {kind: position for position, kind in enumerate(kinds.MEANINGS)}
    return tuple(sorted(unique.values(), key=lambda fault: order.get(fault.kind, len(order))))


def faulty_samples(dataset: Dataset, split: str, track: Track = no_progress) -> tuple[Sample, ...]:
    """The samples of a split that have a fault of their own, or a box with one.

    Raises:
        EdgedetError: there is no such split, it is empty, or nothing is wrong with it.
    """
    samples = split_of(dataset, split)
    places = {fault.where for fault in check_dataset(dataset, track)}
    root = _folder(dataset)
    faulty = tuple(
        sample for sample in samples if shown(sample.image, root) in places or not places.isdisjoint(sample.origins)
    )
    if not faulty:
        raise EdgedetError(f"no image of the split {split!r} has a fault", where=dataset.root)
    return faulty


def union_splits(dataset: Dataset) -> tuple[str, ...]:
    """The splits that hold exactly the images of two or more of the others, such as VOC's `trainval`."""
    images = {split: {sample.image for sample in samples} for split, samples in dataset.splits.items()}
    unions = []
    for split, own in images.items():
        parts = [other for name, other in images.items() if name != split and other and other < own]
        if own and len(parts) > 1 and set().union(*parts) == own:
            unions.append(split)
    return tuple(unions)


def _folder(dataset: Dataset) -> Path:
    return dataset.root if dataset.root.is_dir() else dataset.root.parent


def _image_states(splits: Mapping[str, Sequence[Sample]], track: Track) -> dict[Path, _ImageState]:
    """Reads every image once. Decoding leaves Python's lock, so threads share the work."""
    images = list(dict.fromkeys(sample.image for samples in splits.values() for sample in samples))
    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as pool:
        futures = [pool.submit(_image_state, image) for image in images]
        try:
            return {
                image: future.result() for image, future in track(list(zip(images, futures, strict=True)), "checking")
            }
        finally:
            pool.shutdown(cancel_futures=True)


def _image_state(path: Path) -> _ImageState:
    try:
        if not path.is_file():
            return _ImageState(fault_kind=kinds.MISSING_IMAGE, message="no such file")
        data = read_bytes(path, limit=MAX_BYTES)
        height, width, _ = decode_image(data, where=path).shape
        turned = read_header(io.BytesIO(data)).orientation >= 5
    except EdgedetError as error:
        return _ImageState(fault_kind=kinds.BROKEN_IMAGE, message=error.what)
    except OSError as error:
        return _ImageState(fault_kind=kinds.MISSING_IMAGE, message=error.strerror or str(error))
    return _ImageState((height, width), turned, hashlib.sha256(data).hexdigest())


def _empty_splits(dataset: Dataset) -> Iterator[Fault]:
    reported = {fault.split for fault in dataset.faults if fault.kind == kinds.EMPTY_SPLIT}
    for split, samples in dataset.splits.items():
        if not samples and split not in reported:
            yield Fault(kinds.EMPTY_SPLIT, str(dataset.root), f"the split {split!r} holds no image", split)


def _sample_faults(sample: Sample, state: _ImageState, split: str, root: Path, *, is_voc: bool) -> Iterator[Fault]:
    if state.fault_kind:
        yield Fault(state.fault_kind, shown(sample.image, root), state.message, split)
    if state.size and sample.size and state.size != sample.size:
        yield Fault(kinds.SIZE_MISMATCH, shown(sample.image, root), _size_message(sample.size, state), split)
    size = state.size or sample.size
    first: dict[tuple[object, ...], str] = {}
    counted = " (counted from 0; the file counts from 1)" if is_voc else ""
    for index, (box, label) in enumerate(zip(sample.boxes.tolist(), sample.labels.tolist(), strict=True)):
        where = sample.origins[index] if sample.origins else f"{shown(sample.image, root)}: box {index + 1}"
        if fault := _box_fault(box, size):
            yield Fault(fault[0], where, fault[1] + counted, split)
        key = (label, *(round(side, _DECIMALS) for side in box))
        if key in first:
            yield Fault(kinds.DUPLICATE_BOX, where, f"the same as {first[key]}", split)
        first.setdefault(key, where)


def _box_fault(box: list[float], size: tuple[int, int] | None) -> tuple[str, str] | None:
    x1, y1, x2, y2 = box
    text = f"x {x1:.6g} to {x2:.6g}, y {y1:.6g} to {y2:.6g}"
    if not np.isfinite(box).all():
        return kinds.NON_FINITE, text
    if x2 <= x1 or y2 <= y1:
        return kinds.ZERO_AREA, text
    if size is not None:
        height, width = size
        if min(x1, y1) < -OUTSIDE_TOLERANCE or x2 > width + OUTSIDE_TOLERANCE or y2 > height + OUTSIDE_TOLERANCE:
            return kinds.OUTSIDE_IMAGE, f"{text} in an image of {width}x{height}"
    return None


def _size_message(stated: tuple[int, int], state: _ImageState) -> str:
    assert state.size is not None
    (height, width), (file_height, file_width) = stated, state.size
    message = f"the annotation states {width}x{height}, the image is {file_width}x{file_height}"
    if state.is_turned and (width, height) == (file_height, file_width):
        message += " once its EXIF rotation is applied: the boxes may belong to the image before it"
    return message


def _copies(splits: Mapping[str, Sequence[Sample]], states: Mapping[Path, _ImageState], root: Path) -> Iterator[Fault]:
    """Images that are there twice, as the same file or as a copy of its bytes, in one split or in two."""
    first: dict[object, tuple[str, Path]] = {}
    for split, samples in splits.items():
        for sample in samples:
            resolved = sample.image.resolve()
            digest = states[sample.image].digest
            known = first.get(resolved) or (first.get(digest) if digest else None)
            first.setdefault(resolved, (split, sample.image))
            if digest:
                first.setdefault(digest, (split, sample.image))
            if known is None:
                continue
            other_split, other = known
            what = "the same file as" if other.resolve() == resolved else "the same bytes as"
            message = f"{what} {shown(other, root)}"
            if split == other_split:
                yield Fault(kinds.DUPLICATE_IMAGE, shown(sample.image, root), message, split)
            else:
                yield Fault(kinds.SPLIT_OVERLAP, shown(sample.image, root), f"{message} in {other_split}", split)


def _untrained_classes(splits: Mapping[str, Sequence[Sample]], class_names: Sequence[str]) -> Iterator[Fault]:
    trained = _labels(splits.get("train", ()))
    if not trained:
        return
    for split, samples in splits.items():
        for label in sorted(_labels(samples) - trained):
            where = next(_origins(samples, label), split)
            yield Fault(kinds.UNTRAINED_CLASS, where, f"{class_names[label]!r} is not in the training split", split)


def _labels(samples: Iterable[Sample]) -> set[int]:
    return {int(label) for sample in samples for label in sample.labels[~sample.ignore]}


def _origins(samples: Iterable[Sample], label: int) -> Iterator[str]:
    for sample in samples:
        for index in np.flatnonzero(sample.labels == label):
            yield sample.origins[index] if sample.origins else str(sample.image)
