"""What training leaves out, so that a bad label never stops it: `trainable` keeps what can be learned from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgedet.boxes import clip
from edgedet.data.images import probe_image
from edgedet.data.sample import Sample
from edgedet.errors import EdgedetError
from edgedet.progress import Track, no_progress

_KINDS = {
    "unreadable": ("image that cannot be read", "images that cannot be read"),
    "non-finite": ("box with infinite coordinates", "boxes with infinite coordinates"),
    "zero-area": ("box without area", "boxes without area"),
    "outside": ("box outside its image", "boxes outside their image"),
}


def trainable(samples: Sequence[Sample], *, track: Track = no_progress) -> tuple[tuple[Sample, ...], str | None]:
    """The samples whose image can be opened, with their usable boxes clipped to it, and one line on what was left out.

    Left out are boxes with coordinates that are not finite, without area, or entirely outside of the image, and images
    that are missing, of an unknown format, or cut short (`edgedet.data.images.probe_image`; damage in the middle of a
    file shows only when it is decoded). A sample that loses all its boxes stays, as background. The line is None where
    nothing was left out. `size` is the file's in every sample returned.
    """
    kept, dropped = [], Counter[str]()
    for sample in track(samples, "checking images"):
        try:
            height, width = probe_image(sample.image)
        except EdgedetError:
            dropped["unreadable"] += 1
            continue
        kept.append(_with_usable_boxes(sample, height, width, dropped))
    if not dropped.total():
        return tuple(kept), None
    listed = ", ".join(
        f"{dropped[kind]} {plural if dropped[kind] > 1 else singular}"
        for kind, (singular, plural) in _KINDS.items()
        if dropped[kind]
    )
    return tuple(kept), f"left out {listed} (`edgedet data check` names them)"


def _with_usable_boxes(sample: Sample, height: int, width: int, dropped: Counter[str]) -> Sample:
    finite = np.asarray(np.isfinite(sample.boxes).all(axis=1))
    clipped = clip(np.where(finite[:, None], sample.boxes, 0), height, width).astype(np.float32)
    has_area = finite & _has_area(sample.boxes)
    usable = has_area & _has_area(clipped)
    dropped["non-finite"] += int((~finite).sum())
    dropped["zero-area"] += int((finite & ~has_area).sum())
    dropped["outside"] += int((has_area & ~usable).sum())
    return replace(
        sample,
        boxes=clipped[usable],
        labels=sample.labels[usable],
        ignore=sample.ignore[usable],
        origins=tuple(origin for origin, keep in zip(sample.origins, usable, strict=False) if keep),
        size=(height, width),
        areas=None if sample.areas is None else sample.areas[usable],
    )


def _has_area(boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
