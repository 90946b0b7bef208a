"""COCO: one json of images, categories and annotations for each split, `bbox` as `[x, y, width, height]` in pixels.

Found as `annotations/instances_<split>.json`, else any COCO json in `annotations/`, as
`<split>/_annotations.coco.json`, or in the root; or given directly. Categories become labels in the order of their
ids. Crowds (`iscrowd`) are ignored in training and evaluation. An image without annotations is background.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from edgedet.data import faults as kinds
from edgedet.data.reading import Faults, Rows, in_usual_order, is_image, safe_relative, usual_split_name
from edgedet.data.sample import Dataset, Sample
from edgedet.errors import EdgedetError
from edgedet.files import MEBIBYTE, read_text

LOOKED_FOR = "COCO: annotations/instances_*.json, <split>/_annotations.coco.json, or another json of images"

JSON_BYTES = 1024 * MEBIBYTE

_SNIFFED_BYTES = 4 * MEBIBYTE
_MAX_SNIFFED_FILES = 100


@dataclass
class _File:
    """One annotation file as parsed: its lists hold anything still."""

    path: Path
    split: str
    images: list[Any]
    annotations: list[Any]
    categories: list[Any]


@dataclass(frozen=True)
class _Classes:
    names: tuple[str, ...]
    ids: tuple[int, ...]
    label_of_id: Mapping[Path, Mapping[int, int]]


def locate(path: Path) -> Path | None:
    """`path` where it is the root of a COCO dataset, else None."""
    return path if _json_files(path) else None


def read(path: Path) -> Dataset:
    """The dataset whose root, or whose one json, is `path`.

    Raises:
        EdgedetError: there is no COCO json, or none that can be read.
    """
    paths = [path] if path.is_file() else _json_files(path)
    if not paths:
        raise EdgedetError("not a COCO dataset", where=path, fix=f"looked for {LOOKED_FOR}")
    root = path if path.is_dir() else _root_of(path)
    faults = Faults(root)
    files = []
    for json_path, split in zip(paths, _split_names(paths), strict=True):
        try:
            files.append(_parse(json_path, split))
        except EdgedetError as error:
            if len(paths) == 1:
                raise
            faults.add(kinds.BROKEN_ANNOTATION, json_path, error.what, split=split)
    if not files:
        raise EdgedetError("none of its annotation files can be read", where=path, fix=faults.found[0].message)
    classes = _classes(files, faults)
    splits = {file.split: _samples(file, root, classes, faults) for file in files}
    _report_unlisted_images(splits.values(), faults)
    return Dataset(path, "coco", classes.names, in_usual_order(splits), tuple(faults.found), classes.ids)


def _json_files(root: Path) -> list[Path]:
    annotations = root / "annotations"
    for pattern in (annotations.glob("instances_*.json"), root.glob("*/_annotations.coco.json")):
        if files := sorted(file for file in pattern if file.is_file()):
            return files
    for folder in (annotations, root):
        if files := sorted(filter(_looks_like_coco, islice(folder.glob("*.json"), _MAX_SNIFFED_FILES))):
            return files
    return []


def _looks_like_coco(path: Path) -> bool:
    """Whether the json is an object with keys of a COCO file, by its first and last few MiB."""
    try:
        with path.open("rb") as file:
            text = file.read(_SNIFFED_BYTES)
            file.seek(max(file.seek(0, os.SEEK_END) - _SNIFFED_BYTES, len(text)))
            text += file.read()
    except OSError:
        return False
    known = sum(key in text for key in (b'"images"', b'"annotations"', b'"categories"'))
    return text.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and known >= 2


def _root_of(json_path: Path) -> Path:
    folder = json_path.parent
    return folder.parent if folder.name == "annotations" else folder


def _split_names(paths: list[Path]) -> list[str]:
    """`train` for `instances_train2017.json`; where two would be called the same, the names in full."""
    full = []
    for path in paths:
        stem = path.parent.name if path.name == "_annotations.coco.json" else path.stem.removeprefix("instances_")
        full.append(usual_split_name(stem))
    short = [found[0] if (found := re.match(r"(train|val|test)(?![a-z])", name)) else name for name in full]
    return short if len(set(short)) == len(short) else full


def _parse(path: Path, split: str) -> _File:
    fix = "write a json object with the lists images, annotations and categories"
    try:
        value = json.loads(read_text(path, limit=JSON_BYTES))
    except json.JSONDecodeError as error:
        raise EdgedetError(f"not valid JSON ({error.msg})", where=f"{path}:{error.lineno}", fix=fix) from error
    except (RecursionError, ValueError) as error:
        raise EdgedetError("not valid JSON (nested too deeply, or a number too long)", where=path, fix=fix) from error
    if not isinstance(value, dict) or not isinstance(value.get("images"), list):
        raise EdgedetError("no COCO annotation file: it holds no list of images", where=path, fix=fix)
    lists = {key: value.get(key, []) for key in ("annotations", "categories")}
    for key, found in lists.items():
        if not isinstance(found, list):
            raise EdgedetError(f"no COCO annotation file: its {key} are no list", where=path, fix=fix)
    return _File(path, split, value["images"], lists["annotations"], lists["categories"])


def _classes(files: list[_File], faults: Faults) -> _Classes:
    """Labels by the order of category ids. Files that number the same names differently are matched by name."""
    first_id: dict[str, int] = {}
    names_by_file: dict[Path, dict[int, str]] = {}
    name_of_id: dict[int, str] = {}
    for file in files:
        names = names_by_file[file.path] = _category_names(file, faults)
        for category_id, name in names.items():
            first_id.setdefault(name, category_id)
            known = name_of_id.setdefault(category_id, name)
            if known != name or first_id[name] != category_id:
                message = f"category {category_id} is {name!r} here, but {known!r} has id {first_id[known]} elsewhere"
                faults.add(kinds.CLASS_CONFLICT, file.path, message, split=file.split)
    ordered = sorted(first_id, key=lambda name: (first_id[name], name))
    label_of_name = {name: label for label, name in enumerate(ordered)}
    label_of_id = {
        path: {category_id: label_of_name[name] for category_id, name in names.items()}
        for path, names in names_by_file.items()
    }
    return _Classes(tuple(ordered), tuple(first_id[name] for name in ordered), label_of_id)


def _category_names(file: _File, faults: Faults) -> dict[int, str]:
    names: dict[int, str] = {}
    for position, category in enumerate(file.categories):
        category_id, name = _get(category, "id"), _get(category, "name")
        if not _is_id(category_id) or not isinstance(name, str) or not name.strip():
            message = f"a category needs a whole number as id and a name, not {category!s:.120}"
            faults.add(
                kinds.BROKEN_ANNOTATION, file.path, message, split=file.split, place=f"category at position {position}"
            )
        elif category_id in names:
            message = f"category {category_id} is both {names[category_id]!r} and {name.strip()!r}"
            faults.add(kinds.CLASS_CONFLICT, file.path, message, split=file.split)
        else:
            names[category_id] = name.strip()
    return names


def _samples(file: _File, root: Path, classes: _Classes, faults: Faults) -> tuple[Sample, ...]:
    find = _ImageFinder(file.path, root, file.split)
    entries: dict[int, tuple[Path, tuple[int, int] | None]] = {}
    seen: dict[str, int] = {}
    for position, entry in enumerate(file.images):
        image_id, name = _get(entry, "id"), _get(entry, "file_name")
        if not _is_id(image_id) or not isinstance(name, str) or not name:
            message = f"an image needs a whole number as id and a file_name, not {entry!s:.120}"
            place = f"image at position {position}"
            faults.add(kinds.BROKEN_ANNOTATION, file.path, message, split=file.split, place=place)
            continue
        relative = safe_relative(name)
        if relative is None:
            message = f"the file name {name!r:.200} is not usable, or leads out of the dataset"
            faults.add(kinds.UNSAFE_PATH, file.path, message, split=file.split, place=f"image {image_id}")
        elif image_id in entries or str(relative) in seen:
            message = f"image {image_id} ({name!r:.200}) is listed twice"
            faults.add(kinds.DUPLICATE_IMAGE, file.path, message, split=file.split, place=f"image {image_id}")
        else:
            entries[image_id] = (find(Path(relative)), _size(entry))
            seen[str(relative)] = image_id
    rows = _rows(file, entries, classes.label_of_id[file.path], faults)
    return tuple(
        rows[image_id].sample(image, image_id, size, states_areas=True) for image_id, (image, size) in entries.items()
    )


def _rows(file: _File, image_ids: Iterable[int], label_of_id: Mapping[int, int], faults: Faults) -> dict[int, Rows]:
    rows = {image_id: Rows() for image_id in image_ids}
    file_name = faults.place(file.path)
    stated = {_get(entry, "id") for entry in file.images if _is_id(_get(entry, "id"))}
    for position, annotation in enumerate(file.annotations):
        values: dict[str, Any] = annotation if isinstance(annotation, dict) else {}
        annotation_id: Any = values.get("id")
        image_id: Any = values.get("image_id")
        category_id: Any = values.get("category_id")
        box = _box(values.get("bbox"))
        place = f"annotation {annotation_id}" if _is_id(annotation_id) else f"annotation at position {position}"
        if box is None:
            kind, message = kinds.MALFORMED_BOX, f"bbox is {values.get('bbox')!r:.120}, not four numbers"
        elif not _is_id(image_id) or image_id not in stated:
            kind, message = kinds.LABEL_WITHOUT_IMAGE, f"image_id {image_id!r:.80} is no image's"
        elif not _is_id(category_id) or category_id not in label_of_id:
            kind, message = kinds.UNKNOWN_CLASS, f"category_id {category_id!r:.80} is no category's"
        else:
            # A stated image without rows had a fault of its own: its annotations go with it.
            if image_id in rows:
                x, y, width, height = box
                rows[image_id].add(
                    (x, y, x + width, y + height),
                    label_of_id[category_id],
                    f"{file_name}: {place}",
                    ignore=bool(values.get("iscrowd")),
                    area=_area(values.get("area"), width, height),
                )
            continue
        faults.add(kind, file.path, message, split=file.split, place=place)
    return rows


def _area(stated: Any, width: float, height: float) -> float:
    """The area that the annotation states, else the box's."""
    area = _number(stated)
    return max(width, 0.0) * max(height, 0.0) if area is None or not math.isfinite(area) else area


class _ImageFinder:
    """Finds image files in the folders that COCO's users put them in; the last folder that held one is tried first."""

    def __init__(self, json_path: Path, root: Path, split: str) -> None:
        full = json_path.stem.removeprefix("instances_")
        own = [json_path.parent] if json_path.parent not in (root, root / "annotations") else []
        named = [folder / name for name in (full, split) for folder in (root / "images", root)]
        years = sorted(root.glob(f"{split}20[0-9][0-9]"))
        candidates = [*own, *named, *years, root / "images", root, root / "JPEGImages", json_path.parent]
        self._folders = [folder for folder in dict.fromkeys(candidates) if folder.is_dir()]

    def __call__(self, relative: Path) -> Path:
        """Where the image is, or, where it is in no folder, the path at which it was looked for first."""
        for position, folder in enumerate(self._folders):
            if (folder / relative).is_file():
                self._folders.insert(0, self._folders.pop(position))
                break
        return self._folders[0] / relative


def _report_unlisted_images(splits: Iterable[tuple[Sample, ...]], faults: Faults) -> None:
    """Images beside listed ones that no annotation file knows: neither labelled nor stated to be background."""
    listed = {sample.image for samples in splits for sample in samples}
    for folder in sorted({image.parent for image in listed}):
        files = sorted(folder.iterdir()) if folder.is_dir() and folder != faults.root else ()
        for file in files:
            if is_image(file) and file not in listed:
                faults.add(kinds.IMAGE_WITHOUT_LABELS, file, "no annotation file lists it")


def _get(entry: Any, key: str) -> Any:
    return entry.get(key) if isinstance(entry, dict) else None


def _is_id(value: Any) -> bool:
    return type(value) is int  # A bool is an int too, but no id.


def _number(value: Any) -> float | None:
    if type(value) is float:
        return value
    if type(value) is not int:
        return None
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def _box(value: Any) -> tuple[float, float, float, float] | None:
    if not isinstance(value, list) or len(value) != 4:
        return None
    x, y, width, height = map(_number, value)
    if x is None or y is None or width is None or height is None:
        return None
    return x, y, width, height


def _size(entry: Any) -> tuple[int, int] | None:
    height, width = _number(_get(entry, "height")), _number(_get(entry, "width"))
    if height is None or width is None or not (0 < height < 2**31 and 0 < width < 2**31):
        return None
    return int(height), int(width)
