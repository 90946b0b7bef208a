"""The one type that every dataset reader produces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a dataset.

    Attributes:
        kind: short name of the kind of fault, e.g. `zero-area`.
        where: file, and line or box where there is one: `labels/a.txt:3`, `a.json: annotation 17`.
        message: what is wrong, with the offending value.
        split: the split it was found in, or "" where it concerns the whole dataset.
    """

    kind: str
    where: str
    message: str
    split: str = ""


@dataclass(frozen=True)
class Sample:
    """One image and its boxes as labelled: nothing is clipped or dropped here.

    Attributes:
        image: path of the image file.
        image_id: the id in the annotation file (COCO), else the position in the split.
        boxes: `[n, 4]` float32, xyxy in pixels of the upright image.
        labels: `[n]` int64, index into the dataset's class names.
        ignore: `[n]` bool, COCO's crowds and VOC's difficult objects: no target in training, not counted in evaluation.
        origins: where each box was read: `labels/a.txt:3`.
        size: `(height, width)` where the annotations state it (COCO, VOC) or need it (YOLO: of the file), else None.
        areas: `[n]` float32, the areas by which COCO sorts objects into small, medium and large where the annotations
            state them (COCO's `area` is that of the outline), else None: the boxes' own.
    """

    image: Path
    image_id: int
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    ignore: NDArray[np.bool_]
    origins: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    areas: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Dataset:
    """A dataset as read from disk.

    Attributes:
        root: the folder or file it was read from.
        format: `coco`, `voc` or `yolo`.
        class_names: names in label order.
        splits: samples of each split (`train`, `val`, `test`, ...), in the order of the split's list.
        faults: what the reader could not make sense of (the rest is found by `edgedet.data.check`).
        category_ids: the classes' ids in the annotation file (COCO), in label order; empty where it has none.
    """

    root: Path
    format: str
    class_names: tuple[str, ...]
    splits: Mapping[str, tuple[Sample, ...]]
    faults: tuple[Fault, ...] = field(default=())
    category_ids: tuple[int, ...] = field(default=())
