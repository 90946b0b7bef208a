"""A contact sheet of the worst errors: a row for each cause, the surest mistakes and the largest missed objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.boxes import areas, clip
from edgedet.data.draw import Colour, class_colour, draw_boxes, put_text
from edgedet.data.images import Image, read_image
from edgedet.data.sample import Sample
from edgedet.errors import EdgedetError
from edgedet.evaluate.matching import is_object
from edgedet.evaluate.tide import CAUSES, MISSED, ErrorAnalysis

SHOWN = 4
"""Errors of each cause."""

_CELL_HEIGHT, _CELL_WIDTH = 260, 340
_MARGIN, _HEADER, _FOOTER = 16, 40, 26
_WIDTH = SHOWN * (_CELL_WIDTH + _MARGIN) + _MARGIN
_HEADER_SCALE, _FOOTER_SCALE = 0.65, 0.42
_BACKGROUND: Colour = (36, 32, 30)
_CELL_BACKGROUND: Colour = (48, 43, 40)
_TEXT: Colour = (235, 235, 235)
_FAINT_TEXT: Colour = (165, 160, 155)
_MOST_CHARACTERS = 40
_LEAST_SURROUNDINGS = 16
_LINE = 3


@dataclass(frozen=True, eq=False)
class _Error:
    """A wrong detection, with its score, or a missed object: the sample, the box `[4]` and the class."""

    sample: Sample
    box: NDArray[np.float64]
    label: int
    score: float | None


def worst_errors(
    samples: Sequence[Sample],
    class_names: Sequence[str],
    analysis: ErrorAnalysis,
    *,
    read: Callable[[Path], Image] = read_image,
) -> Image:
    """A picture of up to `SHOWN` errors of each cause that has any, uint8 BGR.

    Each cell shows the surroundings of one error: the wrong detection, or the missed object, in the colour of its
    class, the labelled objects around it in grey; below, the detection's score and the image's file. The worst false
    positives are those of the highest scores, the worst missed objects the largest. An image that cannot be read leaves
    a cell that says so.

    Args:
        samples: the images that the analysis is of.
        class_names: the data's classes, in label order.
        analysis: the errors.
        read: gives the image, uint8 `[h, w, 3]` BGR, of a file.
    """
    strips = []
    for cause, (name, count) in enumerate(zip(CAUSES, analysis.counts, strict=True)):
        if count:
            cells = [(error, _cell(error, class_names, read)) for error in _worst(cause, samples, analysis)]
            strips += [_title(f"{name}: {count}"), _strip(cells)]
    return np.vstack(strips or [_title("no errors")])


def _worst(cause: int, samples: Sequence[Sample], analysis: ErrorAnalysis) -> list[_Error]:
    matches = analysis.matches
    if cause == MISSED:
        missed = np.flatnonzero(analysis.missed)
        largest = missed[np.argsort(-areas(matches.object_box[missed]), kind="stable")[:SHOWN]]
        return [
            _Error(samples[matches.object_image[row]], matches.object_box[row], int(matches.object_label[row]), None)
            for row in largest
        ]
    return [
        _Error(samples[matches.image[row]], matches.box[row], int(matches.label[row]), float(matches.score[row]))
        for row in np.flatnonzero(analysis.cause == cause)[:SHOWN]
    ]


def _cell(error: _Error, class_names: Sequence[str], read: Callable[[Path], Image]) -> Image:
    cell = _filled(_CELL_HEIGHT, _CELL_WIDTH, _CELL_BACKGROUND)
    try:
        image = read(error.sample.image)
    except EdgedetError:
        put_text(cell, "cannot be read", 12, _CELL_HEIGHT // 2, _FOOTER_SCALE, _FAINT_TEXT)
        return cell
    drawn = _surroundings(error, image, class_names)
    height, width = drawn.shape[:2]
    top, left = (_CELL_HEIGHT - height) // 2, (_CELL_WIDTH - width) // 2
    cell[top : top + height, left : left + width] = drawn
    return cell


def _surroundings(error: _Error, image: Image, class_names: Sequence[str]) -> Image:
    """The part of the image around an error, as large as a cell holds, with the objects and the error drawn."""
    x1, y1, x2, y2 = window = _window(error.box, *image.shape[:2])
    scale = min(_CELL_WIDTH / (x2 - x1), _CELL_HEIGHT / (y2 - y1))
    size = max(1, int((x2 - x1) * scale)), max(1, int((y2 - y1) * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    part = np.asarray(cv2.resize(image[y1:y2, x1:x2], size, interpolation=interpolation), np.uint8)
    sample, origin = error.sample, np.array([x1, y1, x1, y1])
    shown = is_object(sample) & _overlaps(sample.boxes, window)
    if error.score is None:
        shown &= (sample.boxes != error.box).any(axis=1)
    boxes = (np.vstack([error.box, sample.boxes[shown]]) - origin) * scale
    labels = np.append(error.label, sample.labels[shown])
    drawn = draw_boxes(part, boxes, labels, class_names, muted=np.arange(len(labels)) > 0)
    left, top, right, bottom = clip(boxes[:1], *drawn.shape[:2])[0].round().astype(int).tolist()
    cv2.rectangle(drawn, (left, top), (right, bottom), class_colour(error.label), _LINE)
    return drawn


def _window(box: NDArray[np.float64], height: int, width: int) -> tuple[int, int, int, int]:
    """What is shown of an image, xyxy in whole pixels: the box, and its longer side around it; never empty."""
    around = max(*(box[2:] - box[:2]), _LEAST_SURROUNDINGS)
    size = np.array([width, height])
    low = np.clip(np.floor(box[:2] - around), 0, size - 1).astype(int)
    high = np.clip(np.ceil(box[2:] + around), low + 1, size).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _overlaps(boxes: NDArray[np.float32], window: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    x1, y1, x2, y2 = window
    return np.asarray((boxes[:, :2] < (x2, y2)).all(axis=1) & (boxes[:, 2:] > (x1, y1)).all(axis=1))


def _strip(cells: Sequence[tuple[_Error, Image]]) -> Image:
    """The cells of one cause beside each other, with scores and the names of the files below."""
    strip = _filled(_CELL_HEIGHT + _FOOTER + _MARGIN, _WIDTH, _BACKGROUND)
    for place, (error, cell) in enumerate(cells):
        left = _MARGIN + place * (_CELL_WIDTH + _MARGIN)
        strip[:_CELL_HEIGHT, left : left + _CELL_WIDTH] = cell
        score = "" if error.score is None else f"{error.score:.2f}  "
        text = score + error.sample.image.name[-_MOST_CHARACTERS:]
        put_text(strip, text, left, _CELL_HEIGHT + _FOOTER - 8, _FOOTER_SCALE, _FAINT_TEXT)
    return strip


def _title(text: str) -> Image:
    strip = _filled(_HEADER, _WIDTH, _BACKGROUND)
    put_text(strip, text, _MARGIN, _HEADER - 12, _HEADER_SCALE, _TEXT)
    return strip


def _filled(height: int, width: int, colour: Colour) -> Image:
    return np.full((height, width, 3), colour, np.uint8)
