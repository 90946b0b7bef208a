"""A picture of where the gates of a detector open."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from edgedet.data.find import read_dataset, split_of
from edgedet.errors import EdgedetError
from edgedet.files import atomic_path, require_writable_folder
from edgedet.progress import no_progress
from edgedet.quant.gate_report import gate_map, load_gated
from edgedet.quant.images import tensors

OPACITY = 0.5


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
    lowest, highest = float(shares.min()), float(shares.max())
    heat = np.rint((shares - lowest) / max(highest - lowest, 1e-9) * 255).astype(np.uint8)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (spec.preprocess.mean, spec.preprocess.std))
    seen = ((tensor[0] * std + mean) * 255).round().clamp(0, 255).permute(1, 2, 0).numpy().astype(np.uint8)
    image = np.ascontiguousarray(seen[:, :, ::-1])
    heated = cv2.addWeighted(image, 1 - OPACITY, cv2.applyColorMap(heat, cv2.COLORMAP_VIRIDIS), OPACITY, 0)
    encoded, content = cv2.imencode(out.suffix.lower(), np.hstack([image, heated]))
    if not encoded:
        raise EdgedetError("cannot encode the picture", where=out, fix="end its name in .png or .jpg")
    with atomic_path(out) as temporary:
        temporary.write_bytes(content.tobytes())
