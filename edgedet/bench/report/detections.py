"""What the models found in the same images, beside each other."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from edgedet.bench.inputs import FILE_LIMIT
from edgedet.bench.report.markup import Markup, escaped, listed, paragraph
from edgedet.bench.report.runs import Run
from edgedet.bench.report.svg import COLOURS
from edgedet.bench.result import Box, Sample
from edgedet.data.images import decode_image
from edgedet.errors import EdgedetError
from edgedet.files import read_bytes

LONGEST_SIDE = 480
JPEG_QUALITY = 80
MOST_IMAGES = 4
CANVAS = (640.0, 480.0)
LARGEST_CANVAS = 1e5
FARTHEST = 1e6
"""Pixels beyond which a browser need not draw."""


@dataclass(frozen=True)
class Canvas:
    """What boxes are drawn on.

    Attributes:
        width, height: in the pixels that boxes are given in.
        jpeg: the image, scaled down; None where the file is not there, or is another now.
    """

    width: float
    height: float
    jpeg: bytes | None


def detections_markup(runs: Sequence[Run]) -> str:
    """A row of pictures for each image, a picture for each run that says what it found there; empty without any."""
    shown = _by_image(runs)
    names = sorted({box.name for found in shown.values() for _, sample in found for box in sample.detections})
    colours = {name: f"var(--series-{place % len(COLOURS)})" for place, name in enumerate(names)}
    rows = []
    for number, ((image, digest), found) in enumerate(shown.items()):
        boxes = [box for _, sample in found for box in sample.detections]
        canvas = canvas_of(Path(image), digest, boxes)
        missing = "" if canvas.jpeg else ", whose file is not here"
        pictures = [
            _picture(f"image-{number}", place, run, sample, canvas, colours)
            for place, (run, sample) in enumerate(found)
        ]
        rows.append(paragraph(f"{Path(image).name}{missing}", "name"))
        rows.append(f'<div class="pictures">{"".join(pictures)}</div>')
    return "".join(rows)


def canvas_of(path: Path, sha256: str, boxes: Sequence[Box]) -> Canvas:
    """The image in a file, or where it cannot be had an empty one that the boxes fit on.

    Only plain files are opened, and only what was measured is shown: a name in a stranger's result may be that of a
    pipe, or of a picture that is nobody's business.
    """
    try:
        data = read_bytes(path, limit=FILE_LIMIT) if path.is_file() else b""
        pixels = decode_image(data) if hashlib.sha256(data).hexdigest() == sha256 else None
    except (EdgedetError, OSError, ValueError):
        pixels = None
    if pixels is None:
        right, bottom = (max((box.xyxy[corner] for box in boxes), default=0.0) for corner in (2, 3))
        width, height = (
            min(max(far, least), LARGEST_CANVAS) for far, least in zip((right, bottom), CANVAS, strict=True)
        )
        return Canvas(width, height, None)
    height, width = pixels.shape[:2]
    scale = min(LONGEST_SIDE / max(height, width), 1.0)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    return Canvas(width, height, encoded.tobytes())


def _by_image(runs: Sequence[Run]) -> dict[tuple[str, str], list[tuple[Run, Sample]]]:
    """The images that most runs share; a model that was measured several times and found the same is in each once."""
    found: dict[tuple[str, str], list[tuple[Run, Sample]]] = {}
    seen = set()
    for run in runs:
        for sample in run.result.samples:
            key = run.result.model.sha256, sample
            if key not in seen:
                seen.add(key)
                found.setdefault((sample.image, sample.sha256), []).append((run, sample))
    shared = sorted(found, key=lambda image: -len(found[image]))
    return {image: found[image] for image in shared[:MOST_IMAGES]}


def _picture(name: str, place: int, run: Run, sample: Sample, canvas: Canvas, colours: Mapping[str, str]) -> str:
    counts = Counter(box.name for box in sample.detections)
    told = [
        Markup(f'<i class="swatch" style="background:{colours[kind]}"></i>{escaped(f"{kind} {count}")}')
        for kind, count in sorted(counts.items())
    ]
    boxes = "".join(_rectangle(box, colours[box.name], canvas) for box in sample.detections)
    return (
        f'<figure class="picture"><svg viewBox="0 0 {canvas.width:g} {canvas.height:g}" role="img" '
        f'aria-label="{escaped(f"{len(sample.detections)} detections of {run.name}")}">'
        f"{_background(name, place, canvas)}{boxes}</svg>"
        f"<figcaption><b>{escaped(run.name)}</b>{listed(told) or paragraph('nothing found')}</figcaption></figure>"
    )


def _background(name: str, place: int, canvas: Canvas) -> str:
    """The image is in the page once; the pictures after the first point at it."""
    if canvas.jpeg is None:
        return f'<rect class="canvas" width="{canvas.width:g}" height="{canvas.height:g}"></rect>'
    if place:
        return f'<use href="#{name}"></use>'
    data = base64.b64encode(canvas.jpeg).decode()
    size = f'width="{canvas.width:g}" height="{canvas.height:g}"'
    return f'<image id="{name}" {size} href="data:image/jpeg;base64,{data}"></image>'


def _rectangle(box: Box, colour: str, canvas: Canvas) -> str:
    """A box whose class and score show under the pointer; the less sure, the paler."""
    x1, y1, x2, y2 = (min(max(value, -FARTHEST), FARTHEST) for value in box.xyxy)
    line = max(canvas.width, canvas.height) / 240
    opacity = min(max(0.4 + 0.6 * box.score, 0.4), 1.0)
    return (
        f'<rect x="{x1:.1f}" y="{y1:.1f}" width="{max(x2 - x1, 0):.1f}" height="{max(y2 - y1, 0):.1f}" '
        f'style="fill:none;stroke:{colour};stroke-width:{line:.2f};stroke-opacity:{opacity:.2f}">'
        f"<title>{escaped(f'{box.name} {box.score:.2f}')}</title></rect>"
    )
