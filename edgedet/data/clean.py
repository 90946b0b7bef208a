"""What is left out, so that a bad label or a broken image never stops a run, and the one line that says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgedet.boxes import clip
from edgedet.data import faults as kinds
from edgedet.data.images import probe_image
from edgedet.data.sample import Dataset, Sample
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
    dropped = Counter[str]()
    kept = tuple(
        _with_usable_boxes(sample, height, width, dropped)
        for sample, height, width in _openable(samples, dropped, track)
    )
    return kept, _summary(dropped)


def readable(samples: Sequence[Sample], *, track: Track = no_progress) -> tuple[tuple[Sample, ...], str | None]:
    """The samples whose image can be opened, with all their boxes, and one line on what was left out, as `trainable`.

    For evaluation: what is wrong with a box is for the metrics to say.
    """
    dropped = Counter[str]()
    kept = tuple(sample for sample, _, _ in _openable(samples, dropped, track))
    return kept, _summary(dropped)


def reader_summary(dataset: Dataset, split: str) -> str | None:
    """One line on what the reader could not make sense of in a split, or None."""
    counts = Counter(fault.kind for fault in dataset.faults if fault.split in ("", split))
    listed = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return f"not understood: {listed} (`edgedet data check` names them)" if listed else None


def require_known_classes(dataset: Dataset, split: str) -> None:
    """Refuses a split with a label whose class is none of the dataset's.

    Such labels belong to another list of classes, and whatever the others are taken for would be wrong too.
    """
    unknown = [fault for fault in dataset.faults if fault.kind == kinds.UNKNOWN_CLASS and fault.split in ("", split)]
    if unknown:
        more = f" (and {len(unknown) - 1} more labels)" if len(unknown) > 1 else ""
        fix = "correct the labels or the list of classes: `edgedet data check` names all of them"
        raise EdgedetError(f"{unknown[0].message}{more}", where=unknown[0].where, fix=fix)


def _openable(samples: Sequence[Sample], dropped: Counter[str], track: Track) -> Iterator[tuple[Sample, int, int]]:
    """The samples whose image can be opened, with its height and width."""
    for sample in track(samples, "checking images"):
        try:
            height, width = probe_image(sample.image)
        except EdgedetError:
            dropped["unreadable"] += 1
        else:
            yield sample, height, width


def _summary(dropped: Counter[str]) -> str | None:
    if not dropped.total():
        return None
    listed = ", ".join(
        f"{dropped[kind]} {plural if dropped[kind] > 1 else singular}"
        for kind, (singular, plural) in _KINDS.items()
        if dropped[kind]
    )
    return f"left out {listed} (`edgedet data check` names them)"


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
