"""Writing a dataset as COCO, Pascal VOC or YOLO: one function each, and what they share.

Each takes the splits of a dataset, the folder to write into (made by `new_folder`), and a function that puts an image
file in its place. Image files get names that are unique in the whole dataset and safe in every format.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import yaml
from numpy.typing import NDArray

from edgedet.boxes import areas, cxcywh_norm_from_xyxy, xywh_from_xyxy
from edgedet.data.sample import Dataset, Sample
from edgedet.errors import EdgedetError
from edgedet.files import require_writable_folder

Place = Callable[[Path, Path], object]
"""Puts the image at the first path to the second, e.g. `shutil.copyfile`; the second's folder exists."""

_DECIMALS = 3
_SHARE_DECIMALS = 8
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UNSAFE_IN_NAMES = re.compile(r"[^\w.()+@,= -]")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A temporary folder that becomes `out` when the block ends without an exception, and vanishes otherwise.

    Raises:
        EdgedetError: `out` is a file, or a folder that holds something, or cannot be written.
    """
    out = out.absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise EdgedetError(
            "the output folder is there already, and not empty",
            where=out,
            fix="choose another output folder, or remove this one",
        )
    require_writable_folder(out.parent)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        temporary.chmod(0o755)
        yield temporary
        temporary.replace(out)
    except OSError as error:
        raise EdgedetError(
            f"cannot write ({error.strerror or error})", where=out, fix="check space and rights"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_coco(dataset: Dataset, folder: Path, place: Place) -> None:
    """`annotations/instances_<split>.json` and `images/<split>/`. Category ids stay, or count from 1."""
    names = _file_names(dataset)
    category_ids = dataset.category_ids or range(1, len(dataset.class_names) + 1)
    categories = [
        {"id": category_id, "name": name, "supercategory": ""}
        for category_id, name in zip(category_ids, dataset.class_names, strict=True)
    ]
    for split, samples in dataset.splits.items():
        images: list[dict[str, object]] = []
        annotations: list[dict[str, object]] = []
        for sample in samples:
            name = names[sample.image]
            place(sample.image, _made(folder / "images" / _safe(split)) / name)
            height, width = _size(sample)
            images.append({"id": sample.image_id, "file_name": name, "height": height, "width": width})
            for box, area, label, ignore in zip(*_coco_columns(sample), strict=True):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": sample.image_id,
                        "category_id": category_ids[label],
                        "bbox": box,
                        "area": area,
                        "iscrowd": int(ignore),
                        "segmentation": [],
                    }
                )
        value = {"images": images, "annotations": annotations, "categories": categories}
        _write(folder / "annotations" / f"instances_{_safe(split)}.json", json.dumps(value) + "\n")


def write_voc(dataset: Dataset, folder: Path, place: Place) -> None:
    """`ImageSets/Main/<split>.txt`, `Annotations/` and `JPEGImages/`; coordinates count from 1.

    VOC keeps no list of classes: one without any object is lost.
    """
    names = _file_names(dataset)
    placed: set[Path] = set()
    for split, samples in dataset.splits.items():
        for sample in samples:
            if sample.image not in placed:
                placed.add(sample.image)
                name = names[sample.image]
                place(sample.image, _made(folder / "JPEGImages") / name)
                _write(folder / "Annotations" / f"{Path(name).stem}.xml", _voc_xml(sample, name, dataset.class_names))
        lines = [f"{Path(names[sample.image]).stem}\n" for sample in samples]
        _write(folder / "ImageSets" / "Main" / f"{_safe(split)}.txt", "".join(lines))


def write_yolo(dataset: Dataset, folder: Path, place: Place) -> None:
    """`data.yaml`, `images/<split>/` and `labels/<split>/`. YOLO knows no ignored objects: they are left out.

    The yaml states no `path`: its own folder is then the root, for the tools that read it, wherever it is moved.
    """
    names = _file_names(dataset)
    for split, samples in dataset.splits.items():
        for sample in samples:
            name = names[sample.image]
            place(sample.image, _made(folder / "images" / _safe(split)) / name)
            _write(folder / "labels" / _safe(split) / f"{Path(name).stem}.txt", _yolo_lines(sample))
        _made(folder / "images" / _safe(split))
    values = {_safe(split): f"images/{_safe(split)}" for split in dataset.splits}
    text = yaml.safe_dump(
        {**values, "names": dict(enumerate(dataset.class_names))}, sort_keys=False, allow_unicode=True
    )
    _write(folder / "data.yaml", text)


WRITERS: Mapping[str, Callable[[Dataset, Path, Place], None]] = {
    "coco": write_coco,
    "voc": write_voc,
    "yolo": write_yolo,
}


def _file_names(dataset: Dataset) -> dict[Path, str]:
    """A file name for each image whose stem no other has, in any folder and any spelling of capitals."""
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for samples in dataset.splits.values():
        for image in (sample.image for sample in samples):
            if image in names:
                continue
            stem, number = _safe(image.stem), 1
            candidate = stem
            while candidate.casefold() in taken:
                number += 1
                candidate = f"{stem}_{number}"
            taken.add(candidate.casefold())
            names[image] = f"{candidate}{image.suffix.lower()}"
    return names


def _safe(name: str) -> str:
    """The name with what is special to a shell, a path, a list or XML replaced."""
    return _UNSAFE_IN_NAMES.sub("_", name).strip().lstrip(".-") or "image"


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write(path: Path, text: str) -> None:
    _made(path.parent)
    path.write_text(text, encoding="utf-8")


def _size(sample: Sample) -> tuple[int, int]:
    if sample.size is None:
        raise EdgedetError("the image's size is not known", where=sample.image)
    return sample.size


def _coco_columns(sample: Sample) -> tuple[Sequence, ...]:
    boxes = sample.boxes.astype(np.float64)
    object_areas = areas(boxes) if sample.areas is None else sample.areas.astype(np.float64)
    boxes_xywh = np.round(xywh_from_xyxy(boxes), _DECIMALS)
    return (
        boxes_xywh.tolist(),
        np.round(object_areas, _DECIMALS).tolist(),
        sample.labels.tolist(),
        sample.ignore.tolist(),
    )


def _voc_xml(sample: Sample, name: str, class_names: Sequence[str]) -> str:
    height, width = _size(sample)
    root = ElementTree.Element("annotation")
    _leaf(root, "folder", "JPEGImages")
    _leaf(root, "filename", name)
    size = ElementTree.SubElement(root, "size")
    for key, value in (("width", width), ("height", height), ("depth", 3)):
        _leaf(size, key, str(value))
    _leaf(root, "segmented", "0")
    for box, label, ignore in zip(sample.boxes, sample.labels, sample.ignore, strict=True):
        item = ElementTree.SubElement(root, "object")
        _leaf(item, "name", class_names[label])
        _leaf(item, "pose", "Unspecified")
        _leaf(item, "truncated", "0")
        _leaf(item, "difficult", str(int(ignore)))
        corners = ElementTree.SubElement(item, "bndbox")
        for key, side in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
            _leaf(corners, key, _plain_number(float(side) + 1, _DECIMALS))
    ElementTree.indent(root, "\t")
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _leaf(parent: ElementTree.Element, tag: str, text: str) -> None:
    ElementTree.SubElement(parent, tag).text = _NOT_IN_XML.sub("?", text)


def _yolo_lines(sample: Sample) -> str:
    height, width = _size(sample)
    kept: NDArray[np.bool_] = ~sample.ignore
    boxes = cxcywh_norm_from_xyxy(sample.boxes[kept].astype(np.float64), height, width)
    return "".join(
        f"{label} {' '.join(_plain_number(share, _SHARE_DECIMALS) for share in box)}\n"
        for label, box in zip(sample.labels[kept].tolist(), boxes.tolist(), strict=True)
    )


def _plain_number(value: float, decimals: int) -> str:
    """Without trailing zeros, so that whole numbers stay whole: many readers of VOC parse integers only."""
    return f"{value:.{decimals}f}".rstrip("0").rstrip(".")
