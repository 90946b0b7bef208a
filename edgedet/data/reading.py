"""What the three readers share: collecting boxes and faults, and following file names no further than the dataset."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath
from typing import TypeVar

import numpy as np

from edgedet.data.images import SUFFIXES
from edgedet.data.sample import Fault, Sample
from edgedet.files import MEBIBYTE

ANNOTATION_BYTES = 16 * MEBIBYTE
"""The most that is read of one annotation file of one image, or of one list of images."""

T = TypeVar("T")

_MAX_PART_BYTES, _MAX_NAME_BYTES = 240, 2000

_USUAL_SPLITS = ("train", "val", "test")
_OTHER_NAMES = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}


@dataclass
class Rows:
    """The boxes of one image while its annotation is read."""

    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    ignore: list[bool] = field(default_factory=list)
    origins: list[str] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)

    def add(
        self,
        box: tuple[float, float, float, float],
        label: int,
        origin: str,
        *,
        ignore: bool = False,
        area: float | None = None,
    ) -> None:
        """Appends one `xyxy` box; `area` is given for every box of an image or for none."""
        self.boxes.append(box)
        self.labels.append(label)
        self.origins.append(origin)
        self.ignore.append(ignore)
        if area is not None:
            self.areas.append(area)

    def sample(self, image: Path, image_id: int, size: tuple[int, int] | None, *, states_areas: bool = False) -> Sample:
        """The boxes as a sample."""
        with np.errstate(over="ignore"):
            boxes = np.asarray(self.boxes, np.float64).reshape(-1, 4).astype(np.float32)
            areas = np.asarray(self.areas, np.float64).astype(np.float32) if states_areas else None
        return Sample(
            image=image,
            image_id=image_id,
            boxes=boxes,
            labels=np.asarray(self.labels, np.int64),
            ignore=np.asarray(self.ignore, np.bool_),
            origins=tuple(self.origins),
            size=size,
            areas=areas,
        )


@dataclass
class Faults:
    """Collects faults, naming files relative to the dataset's root."""

    root: Path
    found: list[Fault] = field(default_factory=list)

    def add(self, kind: str, path: Path, message: str, *, split: str = "", place: object = None) -> None:
        """Records one fault at `path`, and there at `place` (a line number, or words)."""
        self.found.append(Fault(kind, self.place(path, place), message, split))

    def place(self, path: Path, place: object = None) -> str:
        """`labels/a.txt`, `labels/a.txt:3` for a line, `a.xml: object 3` for words."""
        where = shown(path, self.root)
        if place is None:
            return where
        return f"{where}:{place}" if isinstance(place, int) else f"{where}: {place}"


def shown(path: Path, root: Path) -> str:
    """`path` relative to `root` where it lies below it."""
    try:
        return str(path.relative_to(root))
    except ValueError:
        return str(path)


def is_image(path: Path) -> bool:
    """Whether the name is that of an image; hidden files (such as macOS's `._a.jpg`) are none."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def safe_relative(name: str) -> PurePosixPath | None:
    """A file name from an annotation as a relative path, or None where it is no usable name or leads out of its folder.

    Windows' backslashes are understood. The test is lexical: what the folders themselves link to is the user's choice.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    drive = re.match(r"[A-Za-z]:", name)
    if not path.parts or path.is_absolute() or drive or ".." in path.parts or not is_usable(path):
        return None
    return path


def is_usable(path: PurePath) -> bool:
    """Whether the operating system can look for such a name at all."""
    try:
        parts = [os.fsencode(part) for part in path.parts]
    except UnicodeEncodeError:
        return False
    lengths = [len(part) for part in parts]
    return (
        max(lengths, default=0) <= _MAX_PART_BYTES and sum(lengths) <= _MAX_NAME_BYTES and b"\0" not in b"".join(parts)
    )


def lies_below(path: Path, root: Path) -> bool:
    """Whether `path` lies in `root`, lexically, with every `..` taken out."""
    return Path(os.path.normpath(path)).is_relative_to(os.path.normpath(root))


def usual_split_name(name: str) -> str:
    """`val` for `valid` and `validation`, and likewise for the other usual names."""
    return _OTHER_NAMES.get(name.lower(), name)


def in_usual_order(splits: Mapping[str, T]) -> dict[str, T]:
    """The splits with train, val and test first, the others by name."""
    usual = [name for name in _USUAL_SPLITS if name in splits]
    return {name: splits[name] for name in [*usual, *sorted(set(splits) - set(usual))]}


def first_existing(folders: Iterable[Path]) -> Path | None:
    """The first of `folders` that is there."""
    return next((folder for folder in folders if folder.is_dir()), None)
