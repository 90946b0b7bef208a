"""A picture of where the gates of a detector open."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from edgedet.data.find import read_dataset, split_of
from edgedet.errors import EdgedetError
from edgedet.files import atomic_path, require_writable_folder
from edgedet.progress import no_progress
from edgedet.quant.gate_report import gate_map, load_gated
from edgedet.quant.images import tensors

OPACITY = 0.5
LEAST_SIDE = 480
"""Of each of the two pictures, in pixels; smaller images are drawn larger, by a whole number."""

LEGEND_HEIGHT = 40
LEAST_RANGE = 0.2
"""Of shares between the ends of the colours: smaller differences are not made to look large."""


def draw_gates(model: Path, data: Path, split: str, out: Path) -> None:
    """Draws the first image of a split as the detector sees it, and beside it how many gates open where.

    Args:
        model: a checkpoint with gates.
        data: the dataset.
        split: of it.
        out: the picture to write, `.png` or `.jpg`.

    Raises:
        EdgedetError: the checkpoint has no gates, or the picture cannot be written.
    """
    detector, spec = load_gated(model)
    require_writable_folder(out.parent)
    sample = split_of(read_dataset(data), split)[0]
    ((tensor, _),) = tensors([sample], spec.preprocess, no_progress)
    shares = gate_map(detector, tensor).numpy()
    lowest, highest = _ends(shares)
    heat = np.rint((shares - lowest) / (highest - lowest) * 255).astype(np.uint8)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (spec.preprocess.mean, spec.preprocess.std))
    seen = ((tensor[0] * std + mean) * 255).round().clamp(0, 255).permute(1, 2, 0).numpy().astype(np.uint8)
    image = np.ascontiguousarray(seen[:, :, ::-1])
    heated = cv2.addWeighted(image, 1 - OPACITY, cv2.applyColorMap(heat, cv2.COLORMAP_VIRIDIS), OPACITY, 0)
    beside = np.hstack([image, heated])
    times = max(1, -(-LEAST_SIDE // max(image.shape[:2])))
    shown = cv2.resize(beside, None, fx=times, fy=times, interpolation=cv2.INTER_NEAREST)
    encoded, content = cv2.imencode(out.suffix.lower(), np.vstack([shown, _legend(shown.shape[1], shares)]))
    if not encoded:
        raise EdgedetError("cannot encode the picture", where=out, fix="end its name in .png or .jpg")
    with atomic_path(out) as temporary:
        temporary.write_bytes(content.tobytes())


def _ends(shares: NDArray[np.float32]) -> tuple[float, float]:
    """The shares that the first and the last colour stand for."""
    lowest, highest = float(shares.min()), float(shares.max())
    lowest = max(0.0, min(lowest, highest - LEAST_RANGE))
    return lowest, max(highest, lowest + LEAST_RANGE)


def _legend(width: int, shares: NDArray[np.float32]) -> NDArray[np.uint8]:
    """What the colours mean, `[LEGEND_HEIGHT, width, 3]`, and the smallest, the mean and the largest share there is."""
    colours = np.linspace(0, 255, width).astype(np.uint8)[None].repeat(LEGEND_HEIGHT // 2, axis=0)
    bar = cv2.applyColorMap(colours, cv2.COLORMAP_VIRIDIS)
    words = np.full((LEGEND_HEIGHT - len(bar), width, 3), 255, np.uint8)
    lowest, highest = _ends(shares)
    found = f"gates open: {shares.min():.0%} to {shares.max():.0%} here, {shares.mean():.0%} on average"
    for text, x in ((f"{lowest:.0%}", 4), (found, width // 4), (f"{highest:.0%}", width - 52)):
        cv2.putText(words, text, (x, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([bar, words])
