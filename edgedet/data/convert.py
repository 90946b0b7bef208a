"""From one dataset format to another."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edgedet.data.check import union_splits
from edgedet.data.clean import reader_summary, trainable
from edgedet.data.faults import BROKEN_ANNOTATION
from edgedet.data.find import split_of
from edgedet.data.reading import lies_below
from edgedet.data.sample import Dataset, Sample
from edgedet.data.writing import WRITERS, new_folder
from edgedet.errors import EdgedetError, unknown_value
from edgedet.progress import Track, no_progress


@dataclass(frozen=True)
class Conversion:
    """What was written.

    Attributes:
        format: of the new dataset.
        images: number of images in each split.
        boxes: number of boxes in all splits.
        notes: what was left out, one sentence each.
    """

    format: str
    images: Mapping[str, int]
    boxes: int
    notes: tuple[str, ...]


def convert(dataset: Dataset, format: str, out: Path, track: Track = no_progress) -> Conversion:
    """Writes `dataset` in another format into the new folder `out`; images are copied as they are.

    Boxes are clipped to their image; what no format can hold (`edgedet.data.clean`) is left out and noted, and so are,
    except for VOC, splits that are the union of others, and for YOLO, ignored objects.

    Raises:
        EdgedetError: unknown format, no usable image, `out` holds something, or cannot be written.
    """
    if format not in WRITERS:
        raise unknown_value("dataset format", format, WRITERS)
    folders = {sample.image.parent for samples in dataset.splits.values() for sample in samples}
    if any(lies_below(out.absolute(), folder.absolute()) for folder in folders):
        raise EdgedetError("lies among the images that are converted", where=out, fix="choose another folder")
    with new_folder(out) as folder:
        splits, notes = _usable_splits(dataset, format, track)
        if not any(splits.values()):
            raise EdgedetError(
                "no image can be used", where=dataset.root, fix=f"run `edgedet data check {dataset.root}`"
            )
        if not dataset.class_names:
            raise EdgedetError("no object is labelled, so there is no class", where=dataset.root)
        boxes = sum(len(sample.boxes) for samples in splits.values() for sample in samples)
        ignored = sum(int(sample.ignore.sum()) for samples in splits.values() for sample in samples)
        if format == "yolo" and ignored:
            notes.append(f"left out {ignored} ignored objects (crowds or difficult ones), which YOLO cannot mark")
            boxes -= ignored
        WRITERS[format](replace(dataset, splits=splits), folder, shutil.copyfile)
    return Conversion(format, {split: len(samples) for split, samples in splits.items()}, boxes, tuple(notes))


def _usable_splits(dataset: Dataset, format: str, track: Track) -> tuple[dict[str, tuple[Sample, ...]], list[str]]:
    """The cleaned samples of each split that is to be written, and a note for each thing that is not."""
    unions = () if format == "voc" else union_splits(dataset)
    notes = [f"left out the split {split}: it is the union of others" for split in unions]
    splits = {}
    unread = {fault.split for fault in dataset.faults if fault.kind == BROKEN_ANNOTATION} - dataset.splits.keys() - {""}
    for split in unread:
        split_of(dataset, split)
    for split, samples in dataset.splits.items():
        if split not in unions:
            if not_understood := reader_summary(dataset, split):
                notes.append(f"{split}: {not_understood}")
            splits[split], summary = trainable(samples, track=track)
            if summary:
                notes.append(f"{split}: {summary}")
    return splits, notes
