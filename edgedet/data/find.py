"""From a path to a dataset: the format is found by what lies there."""

from __future__ import annotations

from pathlib import Path

from edgedet.data import coco, voc, yolo
from edgedet.data import faults as kinds
from edgedet.data.sample import Dataset, Sample
from edgedet.errors import EdgedetError, nearest

FORMATS = {"coco": coco, "voc": voc, "yolo": yolo}

DEFAULT_SPLIT = "val"
"""What is measured on where nobody names a split."""

_MAX_DEPTH = 2
_MAX_FOLDERS = 200


def read_dataset(path: Path) -> Dataset:
    """The dataset at `path`: its root folder, a folder that holds one such root, a COCO json, or a YOLO yaml.

    What single files hold wrong is collected in the dataset's `faults`.

    Raises:
        EdgedetError: nothing is there, nothing is recognised, or several datasets are.
    """
    if path.is_file():
        module = {".json": coco, ".yaml": yolo, ".yml": yolo}.get(path.suffix.lower())
        if module is None:
            raise EdgedetError("a dataset is a folder, a COCO .json or a YOLO .yaml", where=path, fix=_looked_for())
        return module.read(path)
    if not path.is_dir():
        raise EdgedetError("no such file or folder", where=path, fix="check the path of the dataset")
    folders = [path]
    for _ in range(_MAX_DEPTH + 1):
        found = [(name, folder) for folder in folders for name, module in FORMATS.items() if module.locate(folder)]
        if len(found) == 1:
            name, folder = found[0]
            return FORMATS[name].read(folder)
        if found:
            listed = ", ".join(f"{folder} ({name})" for name, folder in found)
            raise EdgedetError(f"holds more than one dataset: {listed}", where=path, fix="give the path of one of them")
        folders = [child for folder in folders for child in _folders_in(folder)][:_MAX_FOLDERS]
    raise EdgedetError("no dataset of a known format found", where=path, fix=_looked_for())


def split_of(dataset: Dataset, name: str) -> tuple[Sample, ...]:
    """The samples of the split called `name`.

    Raises:
        EdgedetError: there is no such split, or it is empty; the message names those there are.
    """
    sizes = {split: len(samples) for split, samples in dataset.splits.items()}
    listed = ", ".join(f"{split} ({size})" for split, size in sizes.items() if size) or "none"
    broken = next((f for f in dataset.faults if f.split == name and f.kind == kinds.BROKEN_ANNOTATION), None)
    if not sizes.get(name) and broken is not None:
        raise EdgedetError(broken.message, where=broken.where, fix="correct the file, or name another split")
    if name not in sizes:
        close = nearest(name, sizes)
        hint = "" if close is None else f"did you mean {close!r}? "
        raise EdgedetError(f"no split {name!r}", where=dataset.root, fix=f"{hint}splits with images: {listed}")
    if not sizes[name]:
        raise EdgedetError(f"the split {name!r} is empty", where=dataset.root, fix=f"splits with images: {listed}")
    return dataset.splits[name]


def _folders_in(folder: Path) -> list[Path]:
    try:
        return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    except OSError:
        return []


def _looked_for() -> str:
    return "looked for " + "; ".join(module.LOOKED_FOR for module in FORMATS.values())
