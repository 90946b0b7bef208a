"""Tiny datasets written by hand, so that a reader and a writer cannot agree on the same mistake."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgedet.data.sample import Dataset, Fault

WIDTH, HEIGHT = 80, 60


def write_image(path: Path, *, seed: int | None = None, width: int = WIDTH, height: int = HEIGHT) -> Path:
    """A small image whose pixels depend on its path, so that no two are copies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32(str(path).encode()) if seed is None else seed)
    cv2.imwrite(str(path), rng.integers(0, 256, (height, width, 3), np.uint8))
    return path


def write_text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_json(path: Path, value: Any) -> Path:
    return write_text(path, json.dumps(value))


def voc_xml(
    objects: Iterable[tuple[Any, ...]] = (), *, width: int = WIDTH, height: int = HEIGHT, file_name: str = "a.jpg"
) -> str:
    """Objects as `(name, xmin, ymin, xmax, ymax)`, the numbers as VOC counts them, or with `difficult` behind."""
    items = "".join(
        f"<object><name>{name}</name><difficult>{difficult[0] if difficult else 0}</difficult><bndbox><xmin>{x1}</xmin>"
        f"<ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for name, x1, y1, x2, y2, *difficult in objects
    )
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>{file_name}</filename>{size}{items}</annotation>"


def write_voc(root: Path, splits: Mapping[str, Mapping[str, Iterable[tuple[Any, ...]]]]) -> Path:
    """`{split: {id: objects}}` as a VOC dataset."""
    for split, images in splits.items():
        write_text(root / f"ImageSets/Main/{split}.txt", "".join(f"{image_id}\n" for image_id in images))
        for image_id, objects in images.items():
            write_image(root / f"JPEGImages/{image_id}.jpg")
            write_text(root / f"Annotations/{image_id}.xml", voc_xml(objects, file_name=f"{image_id}.jpg"))
    return root


def write_yolo(root: Path, splits: Mapping[str, Mapping[str, str | None]], names: Any = ("cat", "dog")) -> Path:
    """`{split: {stem: lines of the label file, or None for no file}}` as a YOLO dataset."""
    lines = [f"{split}: images/{split}" for split in splits]
    write_text(root / "data.yaml", "\n".join([*lines, f"names: {json.dumps(names)}", ""]))
    for split, images in splits.items():
        for stem, text in images.items():
            write_image(root / f"images/{split}/{stem}.jpg")
            if text is not None:
                write_text(root / f"labels/{split}/{stem}.txt", text)
    return root


def coco(
    images: Iterable[tuple[int, str]],
    annotations: Iterable[tuple[int, int, list[Any]]],
    categories: Mapping[int, str] | None = None,
) -> dict[str, Any]:
    """`(id, file name)` of images and `(image id, category id, bbox)` of annotations as a COCO json."""
    categories = {3: "cat", 17: "dog"} if categories is None else categories
    return {
        "images": [{"id": i, "file_name": name, "width": WIDTH, "height": HEIGHT} for i, name in images],
        "annotations": [
            {"id": number, "image_id": image_id, "category_id": category_id, "bbox": bbox, "iscrowd": 0}
            for number, (image_id, category_id, bbox) in enumerate(annotations, 1)
        ],
        "categories": [{"id": category_id, "name": name} for category_id, name in categories.items()],
    }


def write_coco(root: Path, split: str, value: dict[str, Any]) -> Path:
    """A COCO json as `annotations/instances_<split>.json`, and its images in `images/<split>`."""
    for image in value["images"]:
        write_image(root / "images" / split / image["file_name"])
    return write_json(root / f"annotations/instances_{split}.json", value)


def kinds_of(faults: Iterable[Fault]) -> list[str]:
    return sorted(fault.kind for fault in faults)


def labelled(dataset: Dataset, split: str) -> list[list[tuple[str, list[float]]]]:
    """The class name and rounded `xyxy` box of every object, image by image."""
    return [
        [
            (dataset.class_names[label], np.round(box, 2).tolist())
            for label, box in zip(sample.labels, sample.boxes.astype(float), strict=True)
        ]
        for sample in dataset.splits[split]
    ]
