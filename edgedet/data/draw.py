"""Boxes with names drawn on an image: the one look of contact sheets, predictions and videos."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.data.images import Image

Colour = tuple[int, int, int]

MUTED: Colour = (150, 150, 150)

_PALETTE = bytes.fromhex(
    "ff3b5c 00c2ff ffc400 2bd94f c65bff ff7a1a 00d6b4 4f7bff ff6ec7 b6e300 "
    "a86b32 226644 9fb4ff d10000 ffe9a8 6611ff 994466 226688 5c7a00 ff9e9e"
)
_GOLDEN_RATIO = 0.618034
_FONT = cv2.FONT_HERSHEY_DUPLEX
_LIGHT: Colour = (255, 255, 255)
_DARK: Colour = (20, 20, 20)
_HALO_STRENGTH = 0.35
_USUAL_SIDE = 560
_MAX_COORDINATE = 1e6
_MAX_CAPTION_OVERLAP = 0.3


@dataclass(frozen=True)
class _Style:
    """Widths and sizes in pixels, fitted to the size of the image."""

    line: int
    font_scale: float
    padding: int


def class_colour(label: int) -> Colour:
    """A BGR colour for a class: the same in every picture, and far from those of the classes before it."""
    if 0 <= label < len(_PALETTE) // 3:
        red, green, blue = _PALETTE[3 * label : 3 * label + 3]
    else:
        hue = label * _GOLDEN_RATIO % 1
        share = colorsys.hsv_to_rgb(hue, 0.5 + 0.5 * (label % 2), 0.6 + 0.2 * (label % 3))
        red, green, blue = (round(255 * value) for value in share)
    return blue, green, red


def draw_boxes(
    image: Image,
    boxes: NDArray[np.floating],
    labels: NDArray[np.integer],
    names: Sequence[str],
    *,
    scores: NDArray[np.floating] | None = None,
    muted: NDArray[np.bool_] | None = None,
) -> Image:
    """A copy of `image` with boxes in the colours of their classes and captions that keep clear of small objects.

    Args:
        image: uint8 BGR `[h, w, 3]`.
        boxes: `[n, 4]` xyxy in pixels; what lies outside of the image is clipped, what is not finite left out.
        labels: `[n]`, index into `names`.
        names: class names.
        scores: `[n]`, shown behind the names with two decimals.
        muted: `[n]`, those to draw in thin grey, e.g. objects that are ignored.
    """
    canvas = np.ascontiguousarray(image).copy()
    height, width = canvas.shape[:2]
    style = _style(height, width)
    drawn = np.flatnonzero(np.isfinite(boxes).all(axis=1))
    pixels = np.clip(np.rint(np.clip(boxes[drawn], -_MAX_COORDINATE, _MAX_COORDINATE)), 0, (width - 1, height - 1) * 2)
    pixels = pixels.astype(np.int64)
    is_muted = [bool(muted[index]) if muted is not None else False for index in drawn]
    colours = [MUTED if grey else class_colour(int(labels[index])) for index, grey in zip(drawn, is_muted, strict=True)]
    # Large boxes first, so that small ones stay on top.
    order = np.argsort(-_areas(pixels), kind="stable")
    _draw_outlines(canvas, pixels, colours, is_muted, order, style)
    captions = [_caption(names, int(labels[index]), None if scores is None else scores[index]) for index in drawn]
    _draw_captions(canvas, pixels, captions, colours, style)
    return canvas


def text_size(text: str, font_scale: float) -> tuple[int, int]:
    """`(height, width)` in pixels of a line of text, from the foot of its letters up."""
    (width, height), _ = cv2.getTextSize(text, _FONT, font_scale, 1)
    return height, width


def put_text(canvas: Image, text: str, left: int, foot: int, font_scale: float, colour: Colour) -> None:
    """Writes a line of text on `canvas`, its letters standing on row `foot`."""
    cv2.putText(canvas, text, (left, foot), _FONT, font_scale, colour, 1, cv2.LINE_AA)


def readable_on(colour: Colour) -> Colour:
    """Dark or light, whichever reads better on that background (by its luma, ITU-R BT.601)."""
    blue, green, red = colour
    return _DARK if 0.114 * blue + 0.587 * green + 0.299 * red > 140 else _LIGHT


def _style(height: int, width: int) -> _Style:
    # Slower than the side: a large picture is looked at with more pixels, not only from further away.
    growth = ((height + width) / 2 / _USUAL_SIDE) ** 0.55
    return _Style(max(1, round(2 * growth)), max(0.38, 0.42 * growth), max(2, round(3 * growth)))


def _caption(names: Sequence[str], label: int, score: float | None) -> str:
    name = names[label] if 0 <= label < len(names) else f"class {label}"
    return name if score is None else f"{name} {score:.2f}"


def _draw_outlines(
    canvas: Image,
    pixels: NDArray[np.int64],
    colours: list[Colour],
    is_muted: list[bool],
    order: NDArray[np.int64],
    style: _Style,
) -> None:
    if not len(order):
        return
    halo = canvas.copy()
    for x1, y1, x2, y2 in pixels.tolist():
        cv2.rectangle(halo, (x1, y1), (x2, y2), _DARK, style.line + 2)
    cv2.addWeighted(halo, _HALO_STRENGTH, canvas, 1 - _HALO_STRENGTH, 0, dst=canvas)
    for index in order:
        x1, y1, x2, y2 = pixels[index].tolist()
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colours[index], 1 if is_muted[index] else style.line)


def _draw_captions(
    canvas: Image,
    pixels: NDArray[np.int64],
    captions: list[str],
    colours: list[Colour],
    style: _Style,
) -> None:
    height, width = canvas.shape[:2]
    chips = np.zeros((0, 4))
    for index, caption in enumerate(captions):
        text_height, text_width = text_size(caption, style.font_scale)
        chip_height, chip_width = text_height + 2 * style.padding, text_width + 2 * style.padding
        if chip_height > height or chip_width > width:
            continue
        chip = _best_place(pixels, index, chip_height, chip_width, height, width, chips, style.line)
        if chip is None:
            continue
        chips = np.concatenate([chips, chip[None]])
        left, top = int(chip[0]), int(chip[1])
        colour = colours[index]
        cv2.rectangle(canvas, (left, top), (left + chip_width - 1, top + chip_height - 1), colour, cv2.FILLED)
        foot = top + style.padding + text_height
        put_text(canvas, caption, left + style.padding, foot, style.font_scale, readable_on(colour))


def _best_place(
    pixels: NDArray[np.int64],
    index: int,
    chip_height: int,
    chip_width: int,
    height: int,
    width: int,
    chips: NDArray[np.float64],
    line: int,
) -> NDArray[np.float64] | None:
    """Where a caption hides least, `xyxy`: the share of each object that it would cover, and other captions, count.

    None in a crowd where it would cover other captions everywhere: the colour of the box then has to do.
    """
    x1, y1, x2, y2 = pixels[index].tolist()
    left, right, outer = x1 - line // 2, x2 + line // 2 - chip_width + 1, line // 2
    corners = [
        (left, y1 - outer - chip_height),
        (left, y2 + outer + 1),
        (right, y1 - outer - chip_height),
        (right, y2 + outer + 1),
        (x2 + outer + 1, y1 - outer),
        (x1 - outer - chip_width, y1 - outer),
        (left, y1 - outer),
    ]
    places = np.array(corners, np.float64)
    places = np.clip(places, 0, (width - chip_width, height - chip_height))
    places = np.hstack([places, places + np.array([chip_width, chip_height])])
    chip_area = chip_height * chip_width
    object_areas = np.maximum(_areas(pixels), 1)
    hidden = (_overlaps(places, pixels) / object_areas).clip(max=1).sum(axis=1)
    on_captions = _overlaps(places, chips).sum(axis=1) / chip_area
    preference = 0.02 * np.arange(len(places))
    best = np.argmin(hidden + 2 * on_captions + preference)
    return places[best] if on_captions[best] <= _MAX_CAPTION_OVERLAP else None


def _overlaps(first: NDArray, second: NDArray) -> NDArray:
    """Areas `[n, m]` shared by boxes `[n, 4]` and `[m, 4]`."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return np.prod(np.maximum(high - low, 0), axis=2)


def _areas(pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    return (pixels[:, 2] - pixels[:, 0]) * (pixels[:, 3] - pixels[:, 1])
