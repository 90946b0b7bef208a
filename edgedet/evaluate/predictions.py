"""COCO results files: anyone's detections, read to be scored and written to be scored elsewhere.

A results file is a JSON list of `{"image_id", "category_id", "bbox": [x, y, width, height], "score"}`.

* `category_id` is the id in the annotation file for COCO data; for VOC and YOLO data, which have none, it is the
  place of the class in the dataset's list, from 1.
* `image_id` is the id in the annotation file for COCO data; for VOC and YOLO data the place of the image in the split,
  from 0. Where it is a string, it is the image's file name, with or without its ending.
* `file_name`, where an entry has one, is used instead of `image_id`: the image's file name, with any part of its
  folders. Where several images are called so, `image_id` says which.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.boxes import xywh_from_xyxy, xyxy_from_xywh
from edgedet.data.sample import Dataset, Sample
from edgedet.errors import EdgedetError
from edgedet.evaluate.coco import ScoredBoxes
from edgedet.files import MEBIBYTE, read_text, write_text

RESULTS_LIMIT = 512 * MEBIBYTE


@dataclass(frozen=True)
class Predictions:
    """The detections on one image as a results file states them.

    Attributes:
        xyxy: `[n, 4]` float32 in source pixels. As fine as `Sample.boxes`: the IoU of a box stated alike on both
            sides then meets COCO's thresholds exactly.
        score: `[n]` float64, as stated.
        class_id: `[n]` int64.
    """

    xyxy: NDArray[np.float32]
    score: NDArray[np.float64]
    class_id: NDArray[np.int64]


def category_ids(dataset: Dataset) -> tuple[int, ...]:
    """The `category_id` of each class in a results file, in label order."""
    return dataset.category_ids or tuple(range(1, len(dataset.class_names) + 1))


def read_results(path: Path, samples: Sequence[Sample], categories: Sequence[int]) -> list[Predictions]:
    """The detections in a results file of at most 512 MiB, one entry for each sample.

    Args:
        path: the results file.
        samples: the images; every entry must be of one of them.
        categories: the `category_id` of each class, in label order.

    Raises:
        EdgedetError: the file cannot be read, or an entry (named by its place, from 0) is no detection on `samples`.
    """
    entries = _load_list(path)
    images = _ImageIndex(samples)
    labels = {category: label for label, category in enumerate(categories)}
    rows: list[list[tuple[list[float], float, int]]] = [[] for _ in samples]
    for number, entry in enumerate(entries):
        try:
            image = images.find(entry)
            rows[image].append((_box(entry), _finite(_required(entry, "score"), "score"), _label(entry, labels)))
        except _EntryError as error:
            raise EdgedetError(str(error), where=f"{path}: entry {number}", fix=error.fix) from error
    return [_predictions(of_image) for of_image in rows]


def write_results(
    path: Path, samples: Sequence[Sample], detections: Sequence[ScoredBoxes], categories: Sequence[int]
) -> None:
    """Writes detections as a results file that `read_results` reads back without loss, one entry a line."""
    lines = [
        json.dumps(
            {
                "image_id": sample.image_id,
                "file_name": sample.image.name,
                "category_id": int(categories[label]),
                "bbox": box,
                "score": score,
            }
        )
        for sample, found in zip(samples, detections, strict=True)
        for box, score, label in zip(
            xywh_from_xyxy(np.asarray(found.xyxy, dtype=np.float64)).tolist(),
            found.score.tolist(),
            found.class_id.tolist(),
            strict=True,
        )
    ]
    write_text(path, "[" + ",\n".join(lines) + "]\n")


class _EntryError(Exception):
    """What is wrong with one entry, and how to fix it."""

    def __init__(self, what: str, fix: str) -> None:
        self.fix = fix
        super().__init__(what)


class _ImageIndex:
    """Finds the sample that an entry is of."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.by_id = {sample.image_id: index for index, sample in enumerate(samples)}
        self.paths = [sample.image.as_posix() for sample in samples]
        self.by_name: dict[str, list[int]] = {}
        for index, sample in enumerate(samples):
            for name in {sample.image.name, sample.image.stem}:
                self.by_name.setdefault(name, []).append(index)

    def find(self, entry: Any) -> int:
        """The position of the entry's sample."""
        if not isinstance(entry, Mapping):
            raise _EntryError(f"is a JSON {_kind(entry)}, not an object", _FORM)
        key = "file_name" if "file_name" in entry else "image_id"
        value = _required(entry, key)
        if key == "file_name" and isinstance(value, str) and len(candidates := self._candidates(value)) > 1:
            by_id = _position(self.by_id, entry.get("image_id"))
            if by_id in candidates:
                return by_id
        if isinstance(value, str):
            return self._named(key, value)
        if key == "image_id" and isinstance(value, int) and not isinstance(value, bool):
            if value in self.by_id:
                return self.by_id[value]
            raise _EntryError(f"image_id {_shown(value)} is not in the data", "score it against the split it is of")
        raise _EntryError(f"{key} {_shown(value)} is no {'text' if key == 'file_name' else 'id'}", _FORM)

    def _named(self, key: str, value: str) -> int:
        found = self._candidates(value)
        if len(found) == 1:
            return found[0]
        if found:
            raise _EntryError(f"{key} {_shown(value)} is of {len(found)} images", "name more of its folders")
        raise _EntryError(f"{key} {_shown(value)} is not in the data", "score it against the split it is of")

    def _candidates(self, name: str) -> list[int]:
        """The samples whose image may be meant by a file name."""
        found = self.by_name.get(PurePosixPath(name).name, [])
        if len(found) > 1:
            found = [index for index in found if f"/{self.paths[index]}".endswith(f"/{name}")]
        return found


def _position(by_id: Mapping[int, int], image_id: Any) -> int:
    """The position of the image of that id, or -1."""
    return by_id.get(image_id, -1) if type(image_id) is int else -1


_FORM = 'write {"image_id": ..., "category_id": ..., "bbox": [x, y, width, height], "score": ...}'


def _load_list(path: Path) -> list[Any]:
    text = read_text(path, limit=RESULTS_LIMIT)
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        place = path if line is None else f"{path}:{line}"
        raise EdgedetError("not valid JSON", where=place, fix="write a JSON list of detections") from error
    if not isinstance(entries, list):
        what = f"holds a JSON {_kind(entries)}, not a list of detections"
        raise EdgedetError(what, where=path, fix="give a COCO results file, not an annotation file")
    return entries


def _predictions(rows: list[tuple[list[float], float, int]]) -> Predictions:
    boxes = np.array([box for box, _, _ in rows], dtype=np.float64).reshape(-1, 4)
    return Predictions(
        xyxy=xyxy_from_xywh(boxes).astype(np.float32),
        score=np.array([score for _, score, _ in rows], dtype=np.float64),
        class_id=np.array([label for _, _, label in rows], dtype=np.int64),
    )


def _required(entry: Mapping[str, Any], key: str) -> Any:
    if key not in entry:
        raise _EntryError(f"has no {key!r}", _FORM)
    return entry[key]


def _box(entry: Mapping[str, Any]) -> list[float]:
    box = _required(entry, "bbox")
    if not isinstance(box, list) or len(box) != 4:
        raise _EntryError(f"bbox holds {_shown(box)}, not [x, y, width, height]", _FORM)
    numbers = [_finite(value, "bbox") for value in box]
    if min(numbers[2:]) < 0:
        fix = "bbox is [x, y, width, height], not two corners"
        raise _EntryError(f"bbox has the negative side {min(numbers[2:]):g}", fix)
    return numbers


def _finite(value: Any, key: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST:
        return float(value)
    raise _EntryError(f"{key} holds {_shown(value)}, not a finite number", "give a finite number")


_LARGEST = float(np.finfo(np.float32).max) / 4
"""Sums of coordinates stay finite as float32. A comparison with nan is false, so nan is refused as well."""


def _label(entry: Mapping[str, Any], labels: Mapping[int, int]) -> int:
    value = _required(entry, "category_id")
    if isinstance(value, int) and not isinstance(value, bool) and value in labels:
        return labels[value]
    ids = list(labels)
    known = ", ".join(map(str, ids[:20])) + (", ..." if len(ids) > 20 else "")
    raise _EntryError(f"category_id {_shown(value)} is not in the data", f"the data's category ids: {known}")


def _kind(value: Any) -> str:
    return {dict: "object", list: "list", str: "string", bool: "boolean", type(None): "null"}.get(type(value), "number")


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return f"a {_kind(value)} of {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
