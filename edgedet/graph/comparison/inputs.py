"""What two models are compared on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgedet.errors import CheckFailedError, EdgedetError
from edgedet.graph.comparison.grid import Array
from edgedet.graph.comparison.side import Side, Sizes
from edgedet.graph.verify import IMAGE_COUNT, Images, verification_images
from edgedet.runtime.preprocess import preprocess
from edgedet.spec import MAX_SIDE, Preprocess

SMALLEST_SIDE = 32
SEED = 0


@dataclass(frozen=True, eq=False)
class Inputs:
    """Input tensors.

    Attributes:
        images: what they were made of.
        tensors: `[B, ...]` float32 each.
    """

    images: Images
    tensors: tuple[Array, ...]


def inputs_for(a: Side, b: Side, data: Path | None = None, images: Images | None = None) -> Inputs:
    """Input tensors that both take, prepared as their specifications say.

    Where neither file says how, images are normalised as ImageNet's are; what is no image is filled with noise.

    Args:
        a, b: the two.
        data: what to compare on, see `edgedet.graph.verify.verification_images`.
        images: the same, read already.

    Raises:
        EdgedetError: they do not take the same sizes, or the images cannot be read.
        CheckFailedError: they prepare images differently.
    """
    sizes = _common_sizes(a, b)
    batch = sizes[0] or 1
    prepare = _preprocess(a, b, sizes)
    if prepare is None:
        if data is not None:
            raise EdgedetError(f"an input of {_listed(sizes)} takes no images", where=data, fix="leave --data out")
        known = [size for size in sizes[1:] if size is not None]
        if len(known) < len(sizes) - 1:
            raise EdgedetError(f"its input is {_listed(sizes)}: its size is not known", where=a.path)
        noise = np.random.default_rng(SEED).standard_normal((IMAGE_COUNT, batch, *known), np.float32)
        return Inputs(Images("noise", ()), tuple(noise))
    images = images or verification_images(data)
    prepared = [preprocess(image, prepare)[0] for image in images.images]
    starts = range(0, len(prepared), batch)
    rows = [[prepared[(start + row) % len(prepared)] for row in range(batch)] for start in starts]
    return Inputs(images, tuple(np.stack(row) for row in rows))


def _common_sizes(a: Side, b: Side) -> Sizes:
    fits = len(a.sizes) == len(b.sizes) and all(
        one is None or other is None or one == other for one, other in zip(a.sizes, b.sizes, strict=True)
    )
    if not fits:
        raise EdgedetError(
            f"takes {_listed(a.sizes)} and {b.path} {_listed(b.sizes)}: they cannot be compared",
            where=a.path,
            fix="export both for one input size (--imgsz) and one batch size (--batch)",
        )
    return tuple(other if one is None else one for one, other in zip(a.sizes, b.sizes, strict=True))


def _preprocess(a: Side, b: Side, sizes: Sizes) -> Preprocess | None:
    if a.spec is not None and b.spec is not None:
        first, second = a.spec.preprocess.model_dump(), b.spec.preprocess.model_dump()
        different = [key for key, value in first.items() if value != second[key]]
        if different:
            listed = "; ".join(f"{key} {first[key]} and {second[key]}" for key in different)
            raise CheckFailedError(f"prepares images otherwise than {b.path}: {listed}", where=a.path)
    spec = a.spec or b.spec
    if spec is not None:
        expected = (spec.preprocess.height, spec.preprocess.width)
        if len(sizes) != 4 or any(
            size not in (None, wanted) for size, wanted in zip(sizes[1:], (3, *expected), strict=True)
        ):
            what = f"its specification says 3x{expected[0]}x{expected[1]}, its input is {_listed(sizes)}"
            raise EdgedetError(what, where=a.path if a.spec else b.path, fix="export it again with `edgedet export`")
        return spec.preprocess
    if len(sizes) != 4 or sizes[1] != 3 or sizes[2] is None or sizes[3] is None:
        return None
    if not all(SMALLEST_SIDE <= side <= MAX_SIDE for side in (sizes[2], sizes[3])):
        return None
    return Preprocess(height=sizes[2], width=sizes[3])


def _listed(sizes: Sizes) -> str:
    return "x".join("?" if size is None else str(size) for size in sizes)
