"""The self-test of a bundle by the Python runtime, where there is no C++ runner: the same files, the same rules."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from edgedet.boxes import letterbox
from edgedet.config import Digest, Frozen, parse
from edgedet.data.images import read_image
from edgedet.deploy.contents import INSTALLED, require_safe
from edgedet.deploy.folder import require_sound
from edgedet.deploy.golden import NAME, Tolerances
from edgedet.deploy.model import ENGINE, MODEL
from edgedet.errors import EdgedetError
from edgedet.files import MEBIBYTE, read_text
from edgedet.runtime.detector import Detector
from edgedet.runtime.load import load_detector
from edgedet.runtime.results import Detection

GOLDEN_LIMIT = 64 * MEBIBYTE


class ExpectedDetection(Frozen):
    """See `edgedet.deploy.golden.GoldenDetection`."""

    box: tuple[float, float, float, float]
    score: float
    class_: Annotated[int, Field(validation_alias="class")]


class ExpectedImage(Frozen):
    """See `edgedet.deploy.golden.GoldenImage`."""

    image: str
    width: int
    height: int
    input: str | None
    input_sha256: Digest
    score_threshold: float
    detections: tuple[ExpectedDetection, ...]


class Expected(Frozen):
    """What `golden.json` says."""

    version: Literal[1]
    model_sha256: Digest
    tolerances: Tolerances
    images: Annotated[tuple[ExpectedImage, ...], Field(min_length=1)]


@dataclass(frozen=True)
class Tried:
    """One golden image.

    Attributes:
        image: its file's name.
        detections: how many were found.
        fault: what differs, in words; None where nothing does.
    """

    image: str
    detections: int
    fault: str | None


def try_bundle(folder: Path, *, operators: Path | None = None, threads: int | None = None) -> tuple[str, list[Tried]]:
    """Runs a bundle's network on its golden images.

    Args:
        folder: the bundle.
        operators: library of edgedet's operators: code that is run.
        threads: for inference.

    Returns:
        the name of what ran it, and each image.

    Raises:
        EdgedetError: the network or the golden files cannot be read.
        CheckFailedError: the bundle is not as its manifest says.
    """
    manifest = require_sound(folder)
    model = folder / (MODEL if manifest.target.tensorrt is None else f"{INSTALLED}/{ENGINE}")
    detector = load_detector(model, operators=operators, threads=threads)
    return detector.backend.name, list(_tried(detector, folder / "golden"))


def read_golden(folder: Path) -> Expected:
    """What a folder of golden files says.

    Raises:
        EdgedetError: `golden.json` is missing or broken, or names a file elsewhere.
    """
    path = folder / NAME
    try:
        values = json.loads(read_text(path, limit=GOLDEN_LIMIT))
    except (ValueError, RecursionError) as error:
        raise EdgedetError("not valid JSON", where=path, fix="copy the bundle again") from error
    if not isinstance(values, dict):
        raise EdgedetError("not a JSON object", where=path, fix="copy the bundle again")
    expected = parse(Expected, values, where=path)
    for image in expected.images:
        require_safe(image.image, where=path)
    return expected


def _tried(detector: Detector, folder: Path) -> Iterator[Tried]:
    expected = read_golden(folder)
    for image in expected.images:
        pixels = read_image(folder / image.image)
        if not detector.has_nms:
            detector = detector.with_postprocess(score_threshold=image.score_threshold)
        tensor = detector.preprocess([pixels])[0][0].astype("<f4").tobytes()
        (found,) = detector.detect([pixels])
        fault = None
        if hashlib.sha256(tensor).hexdigest() != image.input_sha256:
            fault = "the network's input is not the one that was written"
        else:
            fault = difference(list(found), image, expected.tolerances, _scale(detector, image))
        yield Tried(image.image, len(found), fault)


def _scale(detector: Detector, image: ExpectedImage) -> Any:
    """Pixels of the network's input in one of the image's, for each corner."""
    size = detector.spec.preprocess
    return letterbox(image.height, image.width, size.height, size.width).scale


def difference(found: Sequence[Detection], image: ExpectedImage, allowed: Tolerances, scale: Any) -> str | None:
    """In what detections differ from those that were written, in words; None where they do not.

    In the order that was written; detections whose scores are equal within the tolerance may have changed places.
    """
    if len(found) != len(image.detections):
        return f"{len(found)} detections instead of {len(image.detections)}"
    left = list(found)
    for place, expected in enumerate(image.detections):
        near = [
            one
            for one in left
            if one.class_id == expected.class_
            and abs(one.score - expected.score) <= allowed.score
            and (np.abs(np.array(one.xyxy) - expected.box) * scale <= allowed.box).all()
        ]
        if not near:
            return f"no detection of class {expected.class_} and score {expected.score:.6f} (place {place})"
        left.remove(near[0])
    return None
