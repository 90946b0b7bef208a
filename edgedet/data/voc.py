"""Pascal VOC: `ImageSets/Main/<split>.txt`, `Annotations/<id>.xml`, `JPEGImages/<id>.jpg`.

VOC counts pixels from 1, so 1 is subtracted from all four coordinates; `xmax - xmin` is the width.
Class names are those found in the annotations, sorted. Objects marked `difficult` are ignored in training and
evaluation. Without any list in `ImageSets/Main`, all annotations together are the split `train`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from edgedet.data import faults as kinds
from edgedet.data.reading import (
    ANNOTATION_BYTES,
    Faults,
    Rows,
    first_existing,
    in_usual_order,
    is_image,
    safe_relative,
    usual_split_name,
)
from edgedet.data.sample import Dataset, Sample
from edgedet.errors import EdgedetError
from edgedet.files import read_text

LOOKED_FOR = "Pascal VOC: Annotations/*.xml with JPEGImages/ and ImageSets/Main/*.txt"

_SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class _Object:
    name: str
    box: tuple[float, float, float, float]
    difficult: bool
    number: int


@dataclass(frozen=True)
class _Annotation:
    path: Path
    file_name: str
    size: tuple[int, int] | None
    objects: tuple[_Object, ...]


def locate(path: Path) -> Path | None:
    """`path` where it is the root of a VOC dataset, else None."""
    annotations = path / "Annotations"
    is_root = annotations.is_dir() and next(annotations.glob("*.xml"), None) is not None
    return path if is_root else None


def read(path: Path) -> Dataset:
    """The dataset whose root is `path`.

    Raises:
        EdgedetError: there are no annotations.
    """
    root = locate(path)
    if root is None:
        raise EdgedetError("not a Pascal VOC dataset", where=path, fix=f"looked for {LOOKED_FOR}")
    faults = Faults(root)
    annotation_files = {file.stem: file for file in sorted((root / "Annotations").glob("*.xml"))}
    images = _images_by_id(root)
    ids_by_split = _read_lists(root, faults) or {"train": list(annotation_files)}
    listed = dict.fromkeys(image_id for ids in ids_by_split.values() for image_id in ids)
    annotations = {
        image_id: annotation
        for image_id in listed
        if image_id in annotation_files
        and (annotation := _read_annotation(annotation_files[image_id], faults)) is not None
    }
    class_names = tuple(sorted({item.name for annotation in annotations.values() for item in annotation.objects}))
    splits = {
        split: _samples(split, ids, root, annotation_files, annotations, images, class_names, faults)
        for split, ids in ids_by_split.items()
    }
    _report_orphans(root, annotation_files, images, listed, faults)
    return Dataset(root, "voc", class_names, in_usual_order(splits), tuple(faults.found))


def _images_by_id(root: Path) -> dict[str, list[Path]]:
    folder = first_existing(root / name for name in ("JPEGImages", "Images", "images"))
    by_id: dict[str, list[Path]] = {}
    for file in sorted(folder.iterdir()) if folder else ():
        if is_image(file):
            by_id.setdefault(file.stem, []).append(file)
    return by_id


def _read_lists(root: Path, faults: Faults) -> dict[str, list[str]]:
    """The ids of each split. A list of one class, `<class>_<split>.txt`, holds an id and a flag on each line."""
    lines_by_file: dict[Path, list[str]] = {}
    for file in sorted((root / "ImageSets" / "Main").glob("*.txt")):
        try:
            lines_by_file[file] = read_text(file, limit=ANNOTATION_BYTES).splitlines()
        except EdgedetError as error:
            faults.add(kinds.BROKEN_ANNOTATION, file, error.what, split=file.stem)
    stems = {file.stem for file in lines_by_file}
    ids_by_split = {}
    for file, lines in lines_by_file.items():
        if file.stem.rpartition("_")[2] in stems - {file.stem} and all(map(_is_flagged, lines)):
            continue
        split = usual_split_name(file.stem)
        ids_by_split[split] = _unique_ids(lines, file, split, faults)
    return ids_by_split


def _is_flagged(line: str) -> bool:
    """Whether the line is one of a list of one class: an id and -1, 0 or 1."""
    words = line.split()
    return not words or (len(words) > 1 and words[-1] in ("-1", "0", "1"))


def _unique_ids(lines: Iterable[str], file: Path, split: str, faults: Faults) -> list[str]:
    ids: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        image_id = line.strip()
        if not image_id:
            continue
        relative = safe_relative(image_id)
        if relative is None or len(relative.parts) != 1:
            faults.add(kinds.UNSAFE_PATH, file, f"{image_id!r} is no plain image id", split=split, place=number)
        elif image_id in ids:
            message = f"{image_id!r} is already on line {ids[image_id]}"
            faults.add(kinds.DUPLICATE_IMAGE, file, message, split=split, place=number)
        else:
            ids[image_id] = number
    return list(ids)


def _samples(
    split: str,
    ids: list[str],
    root: Path,
    annotation_files: dict[str, Path],
    annotations: dict[str, _Annotation],
    images: dict[str, list[Path]],
    class_names: tuple[str, ...],
    faults: Faults,
) -> tuple[Sample, ...]:
    label_of = {name: label for label, name in enumerate(class_names)}
    samples = []
    for position, image_id in enumerate(ids):
        annotation = annotations.get(image_id)
        image = _image_of(image_id, annotation, images) or root / "JPEGImages" / f"{image_id}.jpg"
        if image_id not in annotation_files and image_id in images:
            faults.add(kinds.IMAGE_WITHOUT_LABELS, image, f"Annotations/{image_id}.xml is missing", split=split)
        rows = Rows()
        for item in annotation.objects if annotation else ():
            origin = faults.place(annotation.path, f"object {item.number}") if annotation else ""
            rows.add(item.box, label_of[item.name], origin, ignore=item.difficult)
        samples.append(rows.sample(image, position, annotation.size if annotation else None))
    return tuple(samples)


def _image_of(image_id: str, annotation: _Annotation | None, images: dict[str, list[Path]]) -> Path | None:
    """The image of that id; where several differ in their suffix only, the one that the annotation names."""
    files = images.get(image_id, [])
    named = [file for file in files if annotation and file.name == annotation.file_name]
    return next(iter(named or files), None)


def _report_orphans(
    root: Path, annotation_files: dict[str, Path], images: dict[str, list[Path]], listed: Iterable[str], faults: Faults
) -> None:
    """Annotations of no image, and images without annotation that no list names either."""
    listed = set(listed)
    for image_id, file in annotation_files.items():
        if image_id not in images and image_id not in listed:
            faults.add(kinds.LABEL_WITHOUT_IMAGE, file, f"no image {image_id!r} in JPEGImages")
    for image_id, files in images.items():
        if image_id not in annotation_files and image_id not in listed:
            faults.add(kinds.IMAGE_WITHOUT_LABELS, files[0], f"Annotations/{image_id}.xml is missing")


def _read_annotation(path: Path, faults: Faults) -> _Annotation | None:
    try:
        text = read_text(path, limit=ANNOTATION_BYTES)
        # Entities are how a small file becomes gigabytes, and VOC has no use for them.
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise EdgedetError("holds a document type or entity declaration, which is not read")
        tree = ElementTree.fromstring(text)
        if tree.tag != "annotation":
            raise EdgedetError(f"its outermost element is {tree.tag!r:.80}, not 'annotation'")
    except EdgedetError as error:
        faults.add(kinds.BROKEN_ANNOTATION, path, error.what)
        return None
    except (ElementTree.ParseError, ValueError) as error:
        line = getattr(error, "position", (None,))[0]
        faults.add(kinds.BROKEN_ANNOTATION, path, f"not valid XML ({error})", place=line)
        return None
    objects = []
    for number, element in enumerate(tree.findall("object"), 1):
        try:
            objects.append(_read_object(element, number))
        except EdgedetError as error:
            faults.add(kinds.MALFORMED_BOX, path, error.what, place=f"object {number}")
    return _Annotation(path, (tree.findtext("filename") or "").strip(), _read_size(tree), tuple(objects))


def _read_object(element: ElementTree.Element, number: int) -> _Object:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise EdgedetError("the object has no class name")
    texts = {side: element.findtext(f"bndbox/{side}") for side in _SIDES}
    try:
        xmin, ymin, xmax, ymax = (float(text) - 1 for text in texts.values() if text is not None)
    except ValueError as error:
        raise EdgedetError(f"its bndbox is {texts!s:.120}, not four numbers") from error
    difficult = (element.findtext("difficult") or "").strip() in ("1", "true", "True")
    return _Object(name, (xmin, ymin, xmax, ymax), difficult, number)


def _read_size(tree: ElementTree.Element) -> tuple[int, int] | None:
    """`(height, width)` where the file states both; some tools write 0 for a size they do not know."""
    try:
        height, width = (int(float(tree.findtext(f"size/{side}") or "")) for side in ("height", "width"))
    except (ValueError, OverflowError):
        return None
    return (height, width) if height > 0 and width > 0 else None
