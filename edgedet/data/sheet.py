"""A contact sheet: images with their boxes, as in the dataset or augmented, a legend of the classes, names below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.data.augment.labelled import LabelledImage
from edgedet.data.draw import MUTED, Colour, class_colour, draw_boxes, put_text, readable_on, text_size
from edgedet.data.images import Image, read_image
from edgedet.data.sample import Sample
from edgedet.errors import EdgedetError
from edgedet.files import write_bytes
from edgedet.progress import Track, no_progress

MAX_IMAGES = 200

_BACKGROUND: Colour = (36, 32, 30)
_CELL_BACKGROUND: Colour = (48, 43, 40)
_TEXT: Colour = (235, 235, 235)
_FAINT_TEXT: Colour = (165, 160, 155)
_MARGIN = 16
_CELL_WIDTH = 400
_MAX_CELL_HEIGHT, _MIN_CELL_HEIGHT = 600, 120
_FOOTER = 24
_MAX_MAGNIFICATION = 8
_MAX_LEGEND = 40
_TITLE_SCALE, _LEGEND_SCALE, _FOOTER_SCALE = 0.75, 0.5, 0.42


@dataclass(frozen=True)
class _Cell:
    """An image fitted to its cell with its boxes drawn, or why it cannot be shown."""

    image: Image | None
    footer: str


def spread(samples: Sequence[Sample], count: int) -> tuple[Sample, ...]:
    """`count` of the samples (or all, if there are fewer), spread evenly over them, in order."""
    chosen = np.unique(np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int))
    return tuple(samples[index] for index in chosen)


def contact_sheet(
    samples: Sequence[Sample],
    class_names: Sequence[str],
    *,
    title: str,
    without_boxes: str = "background",
    track: Track = no_progress,
) -> Image:
    """A picture of up to `MAX_IMAGES` samples with their boxes; ignored objects are grey.

    `without_boxes` is what an image without any is called.

    An image that cannot be read leaves a cell that says so.

    Raises:
        EdgedetError: there are no samples, or too many.
    """
    _require_a_number_that_fits(len(samples))
    cells = [_sample_cell(sample, class_names, without_boxes) for sample in track(samples, "drawing")]
    columns = min(len(cells), max(1, math.ceil(math.sqrt(len(cells) * 1.2))))
    labels = np.concatenate([sample.labels[~sample.ignore] for sample in samples])
    ignored = sum(int(sample.ignore.sum()) for sample in samples)
    return _sheet(cells, columns, labels, ignored, class_names, title)


def augmented_sheet(
    images: Sequence[tuple[str, LabelledImage]],
    class_names: Sequence[str],
    *,
    title: str,
    columns: int,
    track: Track = no_progress,
) -> Image:
    """A picture of up to `MAX_IMAGES` augmented images with their boxes, row by row; weights of objects are shown.

    Args:
        images: each with its name.
        class_names: in label order.
        title: above all.
        columns: images in a row.
        track: reports the progress.

    Raises:
        EdgedetError: there are no images, or too many.
    """
    _require_a_number_that_fits(len(images))
    cells = [
        _cell(name, item.image, item.boxes, item.labels, class_names, scores=item.weights)
        for name, item in track(images, "drawing")
    ]
    return _sheet(cells, columns, np.concatenate([item.labels for _, item in images]), 0, class_names, title)


def require_picture_name(path: Path, samples: Sequence[Sample] = ()) -> None:
    """Refuses a name that `save_sheet` cannot write to, or that is the image of a sample."""
    if path.resolve() in {sample.image.resolve() for sample in samples}:
        raise EdgedetError("would replace an image of the dataset", where=path, fix="choose another --out")
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise EdgedetError(f"cannot write pictures as {path.suffix or 'a file without suffix'!r}", fix="name it .png")


def save_sheet(sheet: Image, path: Path) -> None:
    """Writes a picture to `path`, all or nothing; the name's end decides the format (`.png`, `.jpg`, `.webp`).

    Raises:
        EdgedetError: the format is unknown or cannot hold the size, or the file cannot be written.
    """
    require_picture_name(path)
    try:
        encoded, data = cv2.imencode(path.suffix, sheet)
    except cv2.error as error:
        raise EdgedetError("the picture cannot be encoded", where=path, fix="name it .png") from error
    if not encoded:
        raise EdgedetError("the picture cannot be encoded", where=path, fix="name it .png, or show fewer images")
    write_bytes(path, data.tobytes())


def _require_a_number_that_fits(images: int) -> None:
    if not 1 <= images <= MAX_IMAGES:
        raise EdgedetError(f"a sheet shows 1 to {MAX_IMAGES} images, not {images}")


def _sheet(
    cells: Sequence[_Cell],
    columns: int,
    labels: NDArray[np.int64],
    ignored: int,
    class_names: Sequence[str],
    title: str,
) -> Image:
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    width = max(columns, 2) * (_CELL_WIDTH + _MARGIN) + _MARGIN
    header = _header(labels, ignored, class_names, title, width)
    return np.vstack([header, *(_row(row, width) for row in rows)])


def _sample_cell(sample: Sample, class_names: Sequence[str], without_boxes: str) -> _Cell:
    name = sample.image.name
    try:
        image = read_image(sample.image)
    except EdgedetError as error:
        return _Cell(None, f"{name}: {error.what}")
    return _cell(
        name, image, sample.boxes, sample.labels, class_names, muted=sample.ignore, without_boxes=without_boxes
    )


def _cell(
    name: str,
    image: Image,
    boxes: NDArray[np.float32],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    *,
    scores: NDArray[np.float32] | None = None,
    muted: NDArray[np.bool_] | None = None,
    without_boxes: str = "background",
) -> _Cell:
    height, width = image.shape[:2]
    scale = min(_CELL_WIDTH / width, _MAX_CELL_HEIGHT / height, _MAX_MAGNIFICATION)
    resized_height, resized_width = max(1, round(height * scale)), max(1, round(width * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST if scale > 2 else cv2.INTER_LINEAR
    resized = np.asarray(cv2.resize(image, (resized_width, resized_height), interpolation=interpolation), np.uint8)
    zoom = np.array([resized_width / width, resized_height / height] * 2, np.float64)
    drawn = draw_boxes(resized, boxes * zoom, labels, class_names, scores=scores, muted=muted)
    count = f"{len(boxes)} box{'es' * (len(boxes) > 1)}" if len(boxes) else without_boxes
    return _Cell(drawn, f"{name}  {width}x{height}  {count}")


def _row(cells: Sequence[_Cell], width: int) -> Image:
    cell_height = max(_MIN_CELL_HEIGHT, *(len(cell.image) for cell in cells if cell.image is not None), 0)
    row = _filled(cell_height + _FOOTER + _MARGIN, width, _BACKGROUND)
    for index, cell in enumerate(cells):
        left = _MARGIN + index * (_CELL_WIDTH + _MARGIN)
        row[:cell_height, left : left + _CELL_WIDTH] = _CELL_BACKGROUND
        if cell.image is not None:
            height, image_width = cell.image.shape[:2]
            top, inset = (cell_height - height) // 2, left + (_CELL_WIDTH - image_width) // 2
            row[top : top + height, inset : inset + image_width] = cell.image
        else:
            put_text(row, "cannot be read", left + 12, cell_height // 2, _LEGEND_SCALE, _FAINT_TEXT)
        footer = _shortened(cell.footer, _CELL_WIDTH, _FOOTER_SCALE)
        put_text(row, footer, left, cell_height + _FOOTER - 8, _FOOTER_SCALE, _FAINT_TEXT)
    return row


def _header(labels: NDArray[np.int64], ignored: int, class_names: Sequence[str], title: str, width: int) -> Image:
    """The title, and below it each class in its colour with the number of its boxes on the sheet."""
    counts = np.bincount(labels, minlength=len(class_names))
    shown = [(label, int(count)) for label, count in enumerate(counts) if count]
    entries = [(f"{class_names[label]}  {count}", class_colour(label)) for label, count in shown[:_MAX_LEGEND]]
    if ignored:
        entries.append((f"ignored  {ignored}", MUTED))
    if len(shown) > _MAX_LEGEND:
        entries.append((f"and {len(shown) - _MAX_LEGEND} classes more", _BACKGROUND))
    height, left, top = text_size("Ag", _LEGEND_SCALE)[0] + 14, _MARGIN, 52
    places = []
    for text, colour in entries:
        text = _shortened(text, width - 2 * _MARGIN - 16, _LEGEND_SCALE)
        entry_width = text_size(text, _LEGEND_SCALE)[1] + 16
        if left + entry_width > width - _MARGIN:
            left, top = _MARGIN, top + height + 8
        places.append((left, top, entry_width, text, colour))
        left += entry_width + 8
    header = _filled(top + height + _MARGIN if places else 52, width, _BACKGROUND)
    put_text(header, _shortened(title, width - 2 * _MARGIN, _TITLE_SCALE), _MARGIN, 36, _TITLE_SCALE, _TEXT)
    for left, top, entry_width, text, colour in places:
        cv2.rectangle(header, (left, top), (left + entry_width, top + height), colour, cv2.FILLED)
        put_text(header, text, left + 8, top + height - 8, _LEGEND_SCALE, readable_on(colour))
    return header


def _filled(height: int, width: int, colour: Colour) -> Image:
    return np.full((height, width, 3), colour, np.uint8)


def _shortened(text: str, width: int, font_scale: float) -> str:
    """The text, its middle taken out where it is wider than `width` pixels."""
    text = "".join(char if char.isprintable() else "?" for char in text[:500])
    if text_size(text, font_scale)[1] <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        short = f"{text[: (kept + 1) // 2]}...{text[len(text) - kept // 2 :]}"
        if text_size(short, font_scale)[1] <= width:
            return short
    return ""
