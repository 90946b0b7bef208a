"""Whether an exported file says what its checkpoint says, on images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.data.find import read_dataset
from edgedet.data.images import SUFFIXES, read_image, try_read_image
from edgedet.data.sheet import spread
from edgedet.data.synth_scene import render_scene
from edgedet.errors import CheckFailedError, EdgedetError
from edgedet.runtime.detector import Detector


@dataclass(frozen=True)
class Tolerance:
    """How far an exported file may differ, and which differences count.

    Attributes:
        box: in pixels of the network's input.
        score: absolute.
        quantile: of the differences that is held to the tolerance; 1 is the largest.
        best_share: boxes count where the reference's score is among so large a share of the highest.
    """

    box: float
    score: float
    quantile: float = 1.0
    best_share: float = 1.0


FLOAT_TOLERANCE = Tolerance(box=0.05, score=1e-3)
"""Rounding moves a trained detector's box by a thousandth of a pixel and its score by some millionths, a wrong operator
by much more; mAP does not see a thousandth."""

FLOAT16_TOLERANCE = Tolerance(box=2.0, score=0.01)
"""Some four times what three trained detectors differ by on real and on generated images: 0.5 pixels, 0.003. Those are
the boxes where the detector is unsure; an infinity, or coordinates in float16, move the sure ones further."""

INT8_TOLERANCE = Tolerance(box=6.0, score=0.04, quantile=0.9, best_share=0.1)
"""Where a value lies next to the middle between two steps, the last bit decides which it becomes, and each such flip
moves what follows: even in float64 a quantized detector's boxes differ by pixels where it is unsure, and a lowering
may round to a finer grid. Four trained detectors: 2.3 pixels and .013 in nine of ten cases, at worst 31 pixels and .3.
Each tensor by itself is held much closer, see `edgedet.graph.comparison`."""

FEW_BITS_TOLERANCE = Tolerance(box=20.0, score=0.1, quantile=0.9, best_share=0.1)
"""Of activations with 2 or 3 bits everywhere, of which one flip is worth 64 or 32 of those that `INT8_TOLERANCE` allows
for. A trained detector of 2 bits: 10.4 pixels and .05 on generated images, 4.3 pixels and .044 on its own. No proof by
itself: tensor by tensor such graphs are held as close as any."""

FREE_BATCHES = (1, 3)
"""Batch sizes that a file with a free batch is run at."""

IMAGE_COUNT = 8
GENERATED = "generated images"
GENERATED_SIZE = 480
GENERATED_CLASSES = 3

Image = NDArray[np.uint8]
Outputs = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Boxes and scores."""


@dataclass(frozen=True)
class Images:
    """What two runtimes are compared on.

    Attributes:
        source: where the images are from, in words.
        images: uint8 BGR `[h, w, 3]`.
    """

    source: str
    images: tuple[Image, ...]


@dataclass(frozen=True)
class Agreement:
    """How far two runtimes differ.

    Attributes:
        source: what they were compared on.
        images: how many those were.
        box_error: absolute difference of a box coordinate, in pixels of the network's input; the tolerance says which.
        score_error: absolute difference of a score, likewise.
        tolerance: what they are held to.
    """

    source: str
    images: int
    box_error: float
    score_error: float
    tolerance: Tolerance = FLOAT_TOLERANCE

    @property
    def holds(self) -> bool:
        """Whether no difference is above its tolerance."""
        return self.box_error <= self.tolerance.box and self.score_error <= self.tolerance.score

    def to_dict(self) -> dict[str, Any]:
        """The numbers and the tolerances they were held to."""
        plain = asdict(self)
        tolerance = plain.pop("tolerance")
        return {**plain, **{f"{name}_tolerance": tolerance.pop(name) for name in ("box", "score")}, **tolerance}


def verification_images(data: Path | None) -> Images:
    """Images to compare on: 8 of a dataset, one image file, or 8 generated ones where `data` is None.

    Of a dataset those of `val` are taken, evenly spaced, or of its largest split where there is no `val`.

    Raises:
        EdgedetError: there is no image, or one cannot be read.
    """
    if data is None:
        scenes = [render_scene(np.random.default_rng(seed), GENERATED_SIZE, GENERATED_CLASSES) for seed in range(8)]
        return Images(GENERATED, tuple(_varied(scene.image, seed) for seed, scene in enumerate(scenes)))
    if data.suffix.lower() in SUFFIXES:
        return Images(data.name, (read_image(data),))
    splits = read_dataset(data).splits
    split = "val" if splits.get("val") else max(splits, key=lambda name: len(splits[name]), default="")
    samples = splits.get(split, ())
    if not samples:
        raise EdgedetError("holds no image to compare on", where=data)
    chosen = (try_read_image(sample.image) for sample in spread(samples, IMAGE_COUNT))
    images = tuple(image for image in chosen if image is not None)
    if not images:
        raise EdgedetError("holds no image that can be read", where=data, fix=f"run `edgedet data check {data}`")
    return Images(f"{split} of {data}", images)


def compare(
    reference: Detector, exported: Detector, images: Images, tolerance: Tolerance = FLOAT_TOLERANCE
) -> Agreement:
    """Runs two detectors of one specification on the same input tensors and measures how far their outputs differ.

    Where the exported one's batch is free, it is run on batches of 1 and of 3 in turn.

    Raises:
        CheckFailedError: an output has another shape than the reference's, or is not finite.
    """
    pairs: list[tuple[Outputs, Outputs]] = []
    for chunk in _chunks(images.images, exported.backend.inputs[0].shape[0]):
        tensor, _ = exported.preprocess(chunk)
        found = exported.infer(tensor)
        pairs.append((reference.infer(tensor), found))
    return agreement_of(pairs, images, tolerance)


def agreement_of(pairs: Iterable[tuple[Outputs, Outputs]], images: Images, tolerance: Tolerance) -> Agreement:
    """How far boxes and scores differ.

    Args:
        pairs: those of the reference, and those of what is held to it, for each batch.
        images: what they were computed on.
        tolerance: what they are held to.

    Raises:
        CheckFailedError: one has another shape than the reference's, or is not finite.
    """
    box_errors: list[NDArray[np.float32]] = []
    score_errors: list[NDArray[np.float32]] = []
    for (reference_boxes, reference_scores), (boxes, scores) in pairs:
        confidence = reference_scores.max(axis=-1)
        counted = confidence >= np.quantile(confidence, 1 - tolerance.best_share)
        box_errors.append(_differences("boxes", reference_boxes, boxes)[counted].ravel())
        score_errors.append(_differences("scores", reference_scores, scores).ravel())
    box_error, score_error = (
        float(np.quantile(np.concatenate(errors), tolerance.quantile)) for errors in (box_errors, score_errors)
    )
    return Agreement(images.source, len(images.images), box_error, score_error, tolerance)


def require_agreement(
    agreement: Agreement, *, what: str = "the exported graph does not agree with the checkpoint", where: object = None
) -> None:
    """Refuses differences above the tolerance; `what` is said of them.

    Raises:
        CheckFailedError: they are larger.
    """
    tolerance = agreement.tolerance
    if not agreement.holds:
        raise CheckFailedError(
            f"{what} on {agreement.images} images ({agreement.source}): "
            f"boxes differ by up to {agreement.box_error:.3g} px (tolerance {tolerance.box:g}), "
            f"scores by up to {agreement.score_error:.3g} (tolerance {tolerance.score:g})",
            where=where,
        )


def _differences(name: str, reference: NDArray[np.float32], exported: NDArray[np.float32]) -> NDArray[np.float32]:
    if reference.shape != exported.shape:
        raise CheckFailedError(f"the exported {name} are {list(exported.shape)}, not {list(reference.shape)}")
    for values, whose in ((reference, "the checkpoint"), (exported, "the exported graph")):
        if not np.isfinite(values).all():
            raise CheckFailedError(f"{whose} gives {name} that are not finite", fix="the training may have diverged")
    return np.abs(reference - exported)


def _chunks(images: Sequence[Image], batch: int | None) -> Iterator[Sequence[Image]]:
    """Groups of `batch` images (the last may be smaller); where the batch is free, of 1 and of 3 in turn, at least one
    of each: too few images are used again."""
    if batch is None:
        images = [images[place % len(images)] for place in range(max(len(images), sum(FREE_BATCHES)))]
    start, turn = 0, 0
    while start < len(images):
        size = batch if batch is not None else FREE_BATCHES[turn % len(FREE_BATCHES)]
        yield images[start : start + size]
        start, turn = start + size, turn + 1


def _varied(image: Image, seed: int) -> Image:
    """Images of different shapes, so that letterboxes differ."""
    height, width = image.shape[:2]
    return image[: height - 40 * (seed % 3), : width - 30 * (seed % 5)]
