"""Golden files: images, and what this runtime makes of them, for the self-test of a runtime elsewhere.

`edgedet-run MODEL --selftest FOLDER` (export/runner) reads them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgedet.boxes import Letterbox
from edgedet.config import Digest, Frozen
from edgedet.data.images import decode_image
from edgedet.errors import EdgedetError
from edgedet.files import require_writable_folder, sha256_file, write_bytes, write_json
from edgedet.runtime.backend import Outputs
from edgedet.runtime.detector import Detector
from edgedet.runtime.load import load_detector
from edgedet.runtime.results import Detections
from edgedet.spec import Preprocess

NAME = "golden.json"
WANTED = 3
"""So many detections at least in an image prove something; the threshold is lowered for them, down to `LOWEST`."""
LOWEST = 0.01
HALVINGS = 8
"""So often the number of detections may be halved by a higher threshold, until rounding decides none of them."""
TRIALS = 3
ROUNDING = 2e-5
"""What two machines' outputs differ by: as share of a score, and in pixels of the network's input."""

Image = NDArray[np.uint8]


class Tolerances(Frozen):
    """How far another runtime may be off.

    Attributes:
        input: of a value of the network's input; 0 takes the same bits alone.
        box: of a corner, in pixels of the network's input, whatever the image's size.
        score: of a score.
    """

    input: Annotated[float, Field(ge=0)] = 0.0
    box: Annotated[float, Field(ge=0)] = 1e-4
    score: Annotated[float, Field(ge=0)] = 1e-4


@dataclass(frozen=True)
class Golden:
    """What was written.

    Attributes:
        files: `golden.json` last.
        detections: how many there are in all images.
    """

    files: tuple[Path, ...]
    detections: int


class GoldenDetection(Frozen):
    """Corners in pixels of the image, confidence, and the class's number."""

    box: tuple[float, float, float, float]
    score: float
    class_: Annotated[int, Field(serialization_alias="class")]


class GoldenImage(Frozen):
    """An image.

    Attributes:
        image: PNG file.
        width, height: in pixels.
        input: the network's input for it: float32, little endian, `[3, H, W]`; None where only its hash is kept.
        input_sha256: of those bytes.
        score_threshold: that the detections were found with.
        detections: best first.
    """

    image: str
    width: int
    height: int
    input: str | None
    input_sha256: Digest
    score_threshold: float
    detections: tuple[GoldenDetection, ...]


class GoldenFile(Frozen):
    """`golden.json`."""

    version: Literal[1] = 1
    model_sha256: Digest
    tolerances: Tolerances
    images: tuple[GoldenImage, ...]


def write_golden(
    model: Path,
    folder: Path,
    *,
    images: Mapping[str, Image] | None = None,
    operators: Path | None = None,
    tolerances: Tolerances | None = None,
    tensors: bool = True,
) -> Golden:
    """Writes golden files of a model into a folder.

    A model without NMS inside is run on each image with the threshold nearest to its own at which another machine's
    rounding makes no detection come, go or replace another; and with a lower one where it finds next to nothing.

    Args:
        model: `.onnx` or `.engine`.
        folder: made, if it is not there; other files in it stay.
        images: by name (without suffix), uint8 `[h, w, 3]` BGR or `[h, w]`; None: `default_images`.
        operators: library of edgedet's operators: code that is run.
        tolerances: None: the defaults.
        tensors: write the network's inputs too, not only their hashes.

    Raises:
        EdgedetError: the model cannot be run, a name is no plain name, or the folder cannot be written.
    """
    tolerances = tolerances or Tolerances()
    detector = load_detector(model, threads=1, operators=operators)
    given = default_images(detector.spec.preprocess) if images is None else dict(images)
    require_writable_folder(folder)
    pictures = {name: _encoded(name, image) for name, image in given.items()}
    decoded = {name: decode_image(data, where=name) for name, data in pictures.items()}
    files: list[Path] = []
    records = []
    for name, data in pictures.items():
        tensor = detector.preprocess([decoded[name]])[0][0].astype("<f4").tobytes()
        files.append(_written(folder / f"{name}.png", data))
        if tensors:
            files.append(_written(folder / f"{name}.input", tensor))
        threshold = _threshold(detector, decoded[name], tolerances.score)
        records.append(_record(detector, name, decoded[name], tensor, threshold, tensors))
    document = GoldenFile(model_sha256=sha256_file(model), tolerances=tolerances, images=tuple(records))
    write_json(folder / NAME, document.model_dump(mode="json", by_alias=True))
    return Golden((*files, folder / NAME), sum(len(record.detections) for record in records))


def default_images(size: Preprocess) -> dict[str, Image]:
    """Images that try every way through preprocessing: odd, tiny, huge, grey, halved, enlarged and unchanged ones.

    The same bytes every time, and small as PNG files.
    """
    height, width = size.height, size.width
    odd = scene(251, 333, seed=1)
    return {
        "scene": scene(480, 640, seed=0),
        "odd": odd,
        "tall": scene(401, 97, seed=2),
        "single": np.full((1, 1, 3), (10, 120, 250), np.uint8),
        "tiny": scene(2, 3, seed=3),
        "huge": cv2.resize(odd, (4000, 3000), interpolation=cv2.INTER_NEAREST),  # type: ignore[dict-item]
        "grey": scene(200, 320, seed=4)[..., 1].copy(),
        "half": scene(2 * height, 2 * width, seed=5),
        "enlarged": scene(max(height // 7, 1), max(width // 9, 1), seed=6),
        "same": scene(height, width, seed=7),
    }


def scene(height: int, width: int, *, seed: int) -> Image:
    """Coloured rectangles on a slope of colours: uint8 `[h, w, 3]` BGR."""
    random = np.random.default_rng(seed)
    slope = np.linspace(40, 200, height)[:, None, None] + np.linspace(-30, 30, width)[None, :, None]
    image: Image = np.clip(slope + random.integers(-20, 20, 3), 0, 255).astype(np.uint8)
    for _ in range(12):
        x1, x2 = np.sort(random.integers(0, width + 1, 2))
        y1, y2 = np.sort(random.integers(0, height + 1, 2))
        image[y1:y2, x1:x2] = random.integers(0, 256, 3)
    return image


def _encoded(name: str, image: Image) -> bytes:
    if not name or not all(char.isalnum() or char in "-_" for char in name):
        raise EdgedetError(f"{name!r} is no name for an image", fix="take letters, digits, - and _")
    return cv2.imencode(".png", image)[1].tobytes()


def _written(path: Path, data: bytes) -> Path:
    write_bytes(path, data)
    return path


def _record(detector: Detector, name: str, image: Image, tensor: bytes, threshold: float, tensors: bool) -> GoldenImage:
    if not detector.has_nms:
        detector = detector.with_postprocess(score_threshold=threshold)
    found = detector.detect([image])[0]
    detections = tuple(GoldenDetection(box=one.xyxy, score=one.score, class_=one.class_id) for one in found)
    return GoldenImage(
        image=f"{name}.png",
        width=image.shape[1],
        height=image.shape[0],
        input=f"{name}.input" if tensors else None,
        input_sha256=hashlib.sha256(tensor).hexdigest(),
        score_threshold=threshold,
        detections=detections,
    )


def _threshold(detector: Detector, image: Image, tolerance: float) -> float:
    """The model's own, or the nearest at which another machine's rounding changes no detection of this image."""
    own = detector.spec.postprocess.score_threshold
    if detector.has_nms:
        return own
    lowest = min(own, LOWEST)
    loose = detector.with_postprocess(score_threshold=lowest)
    tensor, letterboxes = loose.preprocess([image])
    outputs = loose.run(tensor)
    scores = np.sort(loose.postprocess(outputs, letterboxes)[0].score)[::-1].astype(np.float64)
    gap = 20 * tolerance
    few = np.count_nonzero(scores > own) < WANTED
    first = max(lowest, float(scores[:WANTED].min(initial=own)) - gap if few else own)
    above = scores[scores > first]
    candidates = [first, *(float(above[len(above) >> halvings]) for halvings in range(1, HALVINGS) if len(above))]
    for candidate in candidates:
        threshold = _between(scores, candidate, gap)
        if _is_stable(detector.with_postprocess(score_threshold=threshold), outputs, letterboxes):
            return threshold
    return 1.0


def _is_stable(detector: Detector, outputs: Outputs, letterboxes: Sequence[Letterbox]) -> bool:
    """Whether outputs that are off by what rounding does give the same detections."""
    expected = detector.postprocess(outputs, letterboxes)[0]
    random = np.random.default_rng(0)
    for _ in range(TRIALS):
        boxes, scores = outputs["boxes"], outputs["scores"]
        noisy = {
            "boxes": (boxes + ROUNDING * random.uniform(-1, 1, boxes.shape)).astype(np.float32),
            "scores": (scores * (1 + ROUNDING * random.uniform(-1, 1, scores.shape))).astype(np.float32),
        }
        if not _same(detector.postprocess(noisy, letterboxes)[0], expected, letterboxes[0]):
            return False
    return True


def _same(found: Detections, expected: Detections, letterbox: Letterbox) -> bool:
    """Whether each has its like among the others; equal ones may change places."""
    if len(found) != len(expected):
        return False
    far = np.abs((found.xyxy[:, None] - expected.xyxy[None]) * letterbox.scale).max(axis=2) > 10 * ROUNDING
    alike = ~far & (found.class_id[:, None] == expected.class_id[None])
    return bool(alike.any(axis=0).all() and alike.any(axis=1).all())


def _between(scores: NDArray[Any], threshold: float, gap: float) -> float:
    """The number closest to `threshold` that no score is closer to than half of `gap`."""
    edges = np.unique(np.concatenate([[0.0, 1.0], np.clip(scores, 0, 1)]))
    low, high = edges[:-1], edges[1:]
    wide = high - low >= gap
    nearest = np.clip(threshold, low[wide] + gap / 2, high[wide] - gap / 2)
    if len(nearest) == 0:
        return threshold
    return float(nearest[np.argmin(np.abs(nearest - threshold))])
