"""YOLO: a yaml with `path`, `train`, `val`, `test` and `names`; for each image a text file of `class cx cy w h`.

The four numbers are shares of the upright image. A split is a folder (searched through), a text file that lists
images, or a list of those. The labels of `.../images/x.jpg` are `.../labels/x.txt` (the last `images` of the path
counts), or beside the image where no folder is called `images`. A line of more numbers is a polygon: its extent is the
box. An empty label file marks background; so does a missing one in training, but it is reported as a fault.

Where the user gave the yaml itself, `path` and the splits may lead anywhere; where a folder was given, they may not
leave it. The names in a list of images may not leave `path` (or the folder of the list).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgedet.config import load_yaml
from edgedet.data import faults as kinds
from edgedet.data.images import image_size
from edgedet.data.reading import (
    ANNOTATION_BYTES,
    Faults,
    Rows,
    in_usual_order,
    is_image,
    is_usable,
    lies_below,
    usual_split_name,
)
from edgedet.data.sample import Dataset, Sample
from edgedet.errors import EdgedetError
from edgedet.files import read_text

LOOKED_FOR = "YOLO: data.yaml, dataset.yaml, or one other yaml with train or val, and names"

_YAML_NAMES = ("data.yaml", "dataset.yaml", "data.yml", "dataset.yml")
_SPLIT_KEYS = ("train", "val", "valid", "validation", "test", "trainval", "minival")
_MAX_CLASSES = 10_000
_NO_SPLIT_KEYS = frozenset({"path", "names", "nc", "download"})
_NO_LABEL_FILES = frozenset({"classes.txt", "labels.txt", "obj.names"})


def locate(path: Path) -> Path | None:
    """The yaml of the YOLO dataset in the folder `path`, or None where there is none.

    Raises:
        EdgedetError: there are several.
    """
    for name in _YAML_NAMES:
        if (path / name).is_file():
            return path / name
    files = sorted(file for suffix in ("*.yaml", "*.yml") for file in path.glob(suffix) if _looks_like_yolo(file))
    if len(files) > 1:
        listed = ", ".join(file.name for file in files)
        raise EdgedetError(f"holds several dataset files: {listed}", where=path, fix="give the path of one of them")
    return files[0] if files else None


def read(path: Path) -> Dataset:
    """The dataset of the yaml at `path`, or in the folder `path`.

    Raises:
        EdgedetError: there is no yaml, it states no classes, or none of its splits is there.
    """
    yaml_path = path if path.is_file() else locate(path)
    if yaml_path is None:
        raise EdgedetError("not a YOLO dataset", where=path, fix=f"looked for {LOOKED_FOR}")
    values = load_yaml(yaml_path)
    class_names = _class_names(values, yaml_path)
    fence = path if path.is_dir() else None
    base = _base(values, yaml_path)
    if fence is not None and not lies_below(base, fence):
        raise _leads_out(f"path: {values['path']}", yaml_path)
    reader = _Reader(base, yaml_path, fence, class_names, Faults(base))
    for name, count in Counter(class_names).items():
        if count > 1:
            reader.faults.add(kinds.CLASS_CONFLICT, yaml_path, f"{count} classes are called {name!r:.80}")
    entries_by_split = _split_entries(values, reader)
    splits = {split: reader.split(split, entries) for split, entries in entries_by_split.items()}
    if not any(splits.values()):
        keys = ", ".join(f"{split}: {entry}" for split, entries in entries_by_split.items() for entry in entries)
        fix = f"its folders and lists are looked for below {base} ({keys or 'it names no split'})"
        raise EdgedetError("none of its splits holds an image", where=yaml_path, fix=fix)
    reader.report_orphans(splits)
    return Dataset(path, "yolo", class_names, in_usual_order(splits), tuple(reader.faults.found))


def _leads_out(entry: str, yaml_path: Path) -> EdgedetError:
    fix = f"if that is where it should lead, give the yaml instead of its folder: {yaml_path}"
    return EdgedetError(f"{entry!r:.200} leads out of the folder", where=yaml_path, fix=fix)


def label_path(image: Path) -> Path:
    """Where the labels of an image are: the last folder `images` of its path becomes `labels`."""
    parts = list(image.with_suffix(".txt").parts)
    for position in range(len(parts) - 2, -1, -1):
        if parts[position] == "images":
            parts[position] = "labels"
            break
    return Path(*parts)


def _looks_like_yolo(path: Path) -> bool:
    try:
        values = load_yaml(path)
    except EdgedetError:
        return False
    return ("train" in values or "val" in values) and ("names" in values or "nc" in values)


def _class_names(values: Mapping[str, Any], where: Path) -> tuple[str, ...]:
    names = values.get("names")
    fix = "write names as a list, or as a mapping of 0, 1, 2 ... to names"
    if names is None and isinstance(values.get("nc"), int) and 0 < values["nc"] <= _MAX_CLASSES:
        return tuple(str(label) for label in range(values["nc"]))
    if isinstance(names, dict):
        try:
            names = {int(label): name for label, name in names.items()}
        except (TypeError, ValueError) as error:
            raise EdgedetError("a class number in names is no whole number", where=where, fix=fix) from error
        if sorted(names) != list(range(len(names))):
            raise EdgedetError(f"the class numbers in names are not 0 to {len(names) - 1}", where=where, fix=fix)
        names = [names[label] for label in range(len(names))]
    if not isinstance(names, list) or not names:
        raise EdgedetError("states no class names", where=where, fix=fix)
    if len(names) > _MAX_CLASSES or not all(isinstance(name, str | int | float) for name in names):
        raise EdgedetError(f"a class name is no text, or there are more than {_MAX_CLASSES}", where=where, fix=fix)
    return tuple(str(name) for name in names)


def _base(values: Mapping[str, Any], yaml_path: Path) -> Path:
    """The folder that `path` names, relative to the yaml; the yaml's own where that is not there."""
    stated = values.get("path")
    folder = yaml_path.parent / stated if isinstance(stated, str) else yaml_path.parent
    return Path(os.path.normpath(folder if is_usable(folder) and folder.is_dir() else yaml_path.parent))


def _split_entries(values: Mapping[str, Any], reader: _Reader) -> dict[str, list[str]]:
    """The folders and lists of each split. A key that is not usual is a split where its entries are there."""
    splits: dict[str, list[str]] = {}
    for key, value in values.items():
        entries = [value] if isinstance(value, str) else value
        known = key in _SPLIT_KEYS
        if not isinstance(entries, list) or not entries or not all(isinstance(entry, str) for entry in entries):
            if known and value is not None:
                message = f"{key} is {value!r:.80}, not a folder, a list of images, or a list of those"
                reader.faults.add(kinds.EMPTY_SPLIT, reader.base, message, split=usual_split_name(str(key)))
            continue
        if known or (key not in _NO_SPLIT_KEYS and all(reader.resolve(entry) is not None for entry in entries)):
            splits.setdefault(usual_split_name(str(key)), []).extend(entries)
    return splits


class _Reader:
    """Reads the splits of one yaml; nothing outside of `fence`, where there is one."""

    def __init__(
        self, base: Path, yaml_path: Path, fence: Path | None, class_names: tuple[str, ...], faults: Faults
    ) -> None:
        self.base = base
        self.faults = faults
        self._yaml_path = yaml_path
        self._fence = fence
        self._class_names = class_names
        self._label_folders: set[Path] = set()

    def resolve(self, entry: str) -> Path | None:
        """The folder or list that an entry of the yaml names, or None where it is not there.

        Some exporters write `../train/images` for what lies beside the yaml, so one `../` is tried without.
        """
        inside = (path for path in self._candidates(entry) if self._fence is None or lies_below(path, self._fence))
        return next(inside, None)

    def _candidates(self, entry: str) -> Iterator[Path]:
        for folder in (self.base, self._yaml_path.parent):
            for name in (entry, entry.removeprefix("../")):
                path = Path(os.path.normpath(folder / name))
                if is_usable(path) and path.exists():
                    yield path

    def split(self, split: str, entries: list[str]) -> tuple[Sample, ...]:
        """The samples of the images in all `entries`."""
        images: dict[Path, None] = {}
        for entry in entries:
            path = self.resolve(entry)
            if path is None:
                if any(self._candidates(entry)):
                    raise _leads_out(f"{split}: {entry}", self._yaml_path)
                message = f"{split}: {entry} is neither a folder nor a list of images"
                self.faults.add(kinds.EMPTY_SPLIT, self.base, message, split=split)
                continue
            for image in self._images(path, split):
                if image in images:
                    self.faults.add(kinds.DUPLICATE_IMAGE, image, "the split holds it twice", split=split)
                images[image] = None
        return tuple(self._sample(image, position, split) for position, image in enumerate(images))

    def report_orphans(self, splits: Mapping[str, tuple[Sample, ...]]) -> None:
        """Reports label files, in the label folders of the splits, that belong to no image."""
        expected = {label_path(sample.image) for samples in splits.values() for sample in samples}
        for folder in sorted(self._label_folders):
            for file in _walk(folder):
                if file.suffix == ".txt" and file.name not in _NO_LABEL_FILES and file not in expected:
                    self.faults.add(kinds.LABEL_WITHOUT_IMAGE, file, "no image of that name")

    def _images(self, path: Path, split: str) -> Iterator[Path]:
        if path.is_dir():
            self._label_folders.add(label_path(path / "any.jpg").parent)
            yield from filter(is_image, _walk(path))
        elif path.suffix.lower() == ".txt":
            yield from self._listed(path, split)
        elif is_image(path):
            yield path

    def _listed(self, path: Path, split: str) -> Iterator[Path]:
        try:
            lines = read_text(path, limit=ANNOTATION_BYTES).split("\n")
        except EdgedetError as error:
            self.faults.add(kinds.BROKEN_ANNOTATION, path, error.what, split=split)
            return
        for number, line in enumerate(lines, 1):
            name = line.strip()
            if not name:
                continue
            found = [Path(os.path.normpath(folder / name)) for folder in (path.parent, self.base)]
            allowed = [image for image in found if lies_below(image, self.base) or lies_below(image, path.parent)]
            if not allowed or not is_usable(Path(name)):
                message = f"{name!r:.200} is no usable file name, or leads out of the dataset"
                self.faults.add(kinds.UNSAFE_PATH, path, message, split=split, place=number)
            else:
                yield next((image for image in allowed if image.is_file()), allowed[-1])

    def _sample(self, image: Path, position: int, split: str) -> Sample:
        rows = Rows()
        try:
            size = image_size(image)
        except EdgedetError:
            # The check reads every image and says what is wrong with it.
            return rows.sample(image, position, None)
        labels = label_path(image)
        if not labels.is_file():
            message = f"{self.faults.place(labels)} is missing"
            self.faults.add(kinds.IMAGE_WITHOUT_LABELS, image, message, split=split)
            return rows.sample(image, position, size)
        try:
            lines = read_text(labels, limit=ANNOTATION_BYTES).split("\n")
        except EdgedetError as error:
            self.faults.add(kinds.BROKEN_ANNOTATION, labels, error.what, split=split)
            return rows.sample(image, position, size)
        place = self.faults.place(labels)
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                label, box = self._row(line, size)
            except EdgedetError as error:
                kind = kinds.UNKNOWN_CLASS if isinstance(error, _UnknownClassError) else kinds.MALFORMED_BOX
                self.faults.add(kind, labels, error.what, split=split, place=number)
            else:
                rows.add(box, label, f"{place}:{number}")
        return rows.sample(image, position, size)

    def _row(self, line: str, size: tuple[int, int]) -> tuple[int, tuple[float, float, float, float]]:
        words = line.split()
        try:
            numbers = [float(word) for word in words]
        except ValueError as error:
            raise EdgedetError(f"not all numbers: {line.strip()!r:.80}") from error
        if len(numbers) != 5 and (len(numbers) < 7 or len(numbers) % 2 == 0):
            raise EdgedetError(f"{len(numbers)} numbers, where 5 are expected: class cx cy w h")
        if not numbers[0].is_integer():
            raise EdgedetError(f"the class {words[0]!r:.40} is no whole number")
        label, count = int(numbers[0]), len(self._class_names)
        if not 0 <= label < count:
            raise _UnknownClassError(f"class {label} is out of range: the {count} classes are 0 to {count - 1}")
        height, width = size
        if len(numbers) > 5:
            xs, ys = numbers[1::2], numbers[2::2]
            return label, (min(xs) * width, min(ys) * height, max(xs) * width, max(ys) * height)
        cx, cy, w, h = numbers[1:]
        return label, ((cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height)


class _UnknownClassError(EdgedetError):
    """The class number of a label is out of range."""


def _walk(folder: Path) -> Iterator[Path]:
    """All files below `folder`, in the order of their paths."""
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            yield Path(parent, name)
