"""The changes around single objects in Scale-aware AutoAugment (Chen et al., CVPR 2021).

The policy that the paper's Table 9 publishes, with constant probabilities. (The published code has another one, whose
probabilities grow over the run.) Images' zoom is in `edgedet.data.augment.scale_aware_zoom`. Unconfirmed, and chosen
here: one pair of operations is drawn for an image, and each of the two is tried on every box by itself; a magnitude of
10 is AutoAugment's largest rotation (30 degrees), shear (0.3) and shift (150 of 331 pixels), the shift relative to the
box; objects count as small and large by COCO's areas, in pixels of the canvas.

Rotation, shear and flip leave a box as it is, as in the published code: at the policy's magnitudes it fits most objects
better than the larger box around its turned corners. For a shift that code pastes at the new place, and adds a box
there. Here the shifted image is blended in at the old place too, where it hides the object, so that there is one object
as before; its box follows where the Gaussian is large enough to move it (small and medium objects), and stays where
only the middle of the object changes (large ones). What stands close beside an object changes with it; its box stays.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgedet.data.augment.chance import happens
from edgedet.data.augment.colour import MAX_MAGNITUDE, OPERATIONS
from edgedet.data.augment.geometric import IDENTITY, AffineTransform, rotation, translation, visible
from edgedet.data.augment.labelled import LabelledImage

MAX_ROTATION, MAX_SHEAR, MAX_SHIFT = 30.0, 0.3, 150 / 331
SMALL_AREA, LARGE_AREA = 32.0**2, 96.0**2
AREA_RATIO_SMALL, AREA_RATIO_MEDIUM, AREA_RATIO_LARGE = 6.0, 2.0, 0.4
SHIFTS = ("translate_x", "translate_y")

# Beyond it the Gaussian is less than a hundredth of a grey level.
_REACH = 4.5


class Operation(NamedTuple):
    """What is tried on a box, how often (0..1), and how strong (0..10)."""

    name: str
    probability: float
    magnitude: float


class Pair(NamedTuple):
    """A change of colours, then one of shapes."""

    colour: Operation
    shape: Operation


POLICY = (
    Pair(Operation("colour", 0.4, 2), Operation("translate_x", 0.4, 4)),
    Pair(Operation("brightness", 0.2, 4), Operation("rotate", 0.4, 2)),
    Pair(Operation("sharpness", 0.4, 2), Operation("shear_x", 0.2, 6)),
    Pair(Operation("solarize_add", 0.2, 2), Operation("flip", 0.3, 0)),
    Pair(Operation("identity", 0.0, 0), Operation("translate_y", 0.2, 8)),
)


def change_objects(labelled: LabelledImage, rng: np.random.Generator) -> LabelledImage:
    """The image with a random pair of the policy's operations applied around its boxes.

    Args:
        labelled: objects count once each.
        rng: source of every choice.
    """
    height, width = labelled.image.shape[:2]
    pair = POLICY[int(rng.integers(len(POLICY)))]
    image, boxes = labelled.image.copy(), labelled.boxes.copy()
    for index, box in enumerate(labelled.boxes):
        changed = image
        if happens(pair.colour.probability, rng):
            changed = OPERATIONS[pair.colour.name](image, pair.colour.magnitude)
        transform = IDENTITY
        places = box[None]
        if happens(pair.shape.probability, rng):
            transform = _about_its_centre(box, _shape(pair.shape, box, rng))
            if pair.shape.name in SHIFTS:
                places = np.concatenate([places, transform.boxes(places)])
        if changed is not image or transform != IDENTITY:
            _blend_around(image, changed, transform, places)
            if area_ratio(box) >= 1:
                boxes[index] = places[-1]
    shown, keep = visible(boxes, np.array([0, 0, width, height], dtype=np.float32))
    return replace(labelled, image=image, boxes=shown[keep], labels=labelled.labels[keep])


def gaussian_sigmas(box: NDArray[np.float32]) -> tuple[float, float]:
    """Standard deviations in x and y, in pixels, of the Gaussian around a box that a change is blended in with.

    Its peak is 1, and its integral the box's area times `area_ratio`. The paper's has the same integral and another
    shape, of the form `sigma_x = h * sqrt(W / H * ratio / (2 pi))`. With the image's sides for W and H that is, on a
    square canvas, as wide as the box is high: it leaves the ends of a long object out and reaches far beyond its sides.
    So this one has the box's shape.
    """
    width, height = float(box[2] - box[0]), float(box[3] - box[1])
    spread = math.sqrt(area_ratio(box) / (2 * math.pi))
    return width * spread, height * spread


def area_ratio(box: NDArray[np.float32]) -> float:
    """The Gaussian's integral as a multiple of its box's area: the policy's, for small, medium and large objects."""
    area = float((box[2] - box[0]) * (box[3] - box[1]))
    return AREA_RATIO_SMALL if area < SMALL_AREA else AREA_RATIO_MEDIUM if area < LARGE_AREA else AREA_RATIO_LARGE


def _shape(operation: Operation, box: NDArray[np.float32], rng: np.random.Generator) -> AffineTransform:
    share = operation.magnitude / MAX_MAGNITUDE * (1.0 if rng.random() < 0.5 else -1.0)
    if operation.name == "rotate":
        return rotation(MAX_ROTATION * share)
    if operation.name == "shear_x":
        return AffineTransform(1.0, 1.0, 0.0, 0.0, shear_x=MAX_SHEAR * share)
    if operation.name == "flip":
        return AffineTransform(-1.0, 1.0, 0.0, 0.0)
    if operation.name == "translate_x":
        return translation(MAX_SHIFT * share * float(box[2] - box[0]), 0.0)
    return translation(0.0, MAX_SHIFT * share * float(box[3] - box[1]))


def _about_its_centre(box: NDArray[np.float32], transform: AffineTransform) -> AffineTransform:
    x, y = float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2
    return translation(x, y).after(transform).after(translation(-x, -y))


def _blend_around(
    image: NDArray[np.uint8], changed: NDArray[np.uint8], transform: AffineTransform, places: NDArray[np.float32]
) -> None:
    """Draws the transformed `changed` into `image` around each of `places [k, 4]`, one after the other.

    Each time it is `a * new + (1 - a) * old`, with the Gaussian `a`. Places are of one size.
    """
    height, width = image.shape[:2]
    sigma_x, sigma_y = gaussian_sigmas(places[0])
    xs, ys = (places[:, 0] + places[:, 2]) / 2, (places[:, 1] + places[:, 3]) / 2
    x1, x2 = max(math.floor(xs.min() - _REACH * sigma_x), 0), min(math.ceil(xs.max() + _REACH * sigma_x), width)
    y1, y2 = max(math.floor(ys.min() - _REACH * sigma_y), 0), min(math.ceil(ys.max() + _REACH * sigma_y), height)
    new = np.empty((y2 - y1, x2 - x1, 3), dtype=np.uint8)
    moved = translation(-x1, -y1).after(transform)
    moved.warp_into(new, changed, (0, 0, x2 - x1, y2 - y1))
    columns, rows = np.arange(x1, x2, dtype=np.float32) + 0.5, np.arange(y1, y2, dtype=np.float32) + 0.5
    along = np.exp(-0.5 * ((columns - xs[:, None]) / sigma_x) ** 2)
    down = np.exp(-0.5 * ((rows - ys[:, None]) / sigma_y) ** 2)
    strength = 1 - np.prod(1 - down[:, :, None] * along[:, None, :], axis=0)
    old = image[y1:y2, x1:x2]
    blended = old + strength[..., None] * (new.astype(np.float32) - old)
    image[y1:y2, x1:x2] = np.rint(blended).astype(np.uint8)
