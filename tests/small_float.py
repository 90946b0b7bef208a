"""A float detector with random weights, its checkpoint, and images to quantize it on."""

from __future__ import annotations

from pathlib import Path

from edgedet.data.synth import synthesize
from edgedet.graph.source import find_model
from edgedet.models.checkpoint import save_checkpoint
from edgedet.models.detector import Detector
from edgedet.spec import Spec


def float_detector() -> tuple[Detector, Spec]:
    """SqueezeNet for two classes and 64 pixels a side."""
    detector, spec = find_model("squeezenet_1.1", classes=2, size=(64, 64))
    assert isinstance(detector, Detector)
    return detector, spec.model_copy(update={"class_names": ("disc", "triangle"), "random_weights": False})


def shapes_in(folder: Path) -> Path:
    """Twelve images to calibrate on and four to evaluate on."""
    synthesize(folder / "data", images=16, classes=2, size=64, format="coco", splits={"train": 12, "val": 4})
    return folder / "data"


def checkpoint_in(folder: Path) -> Path:
    """The detector's checkpoint."""
    save_checkpoint(folder / "best.pt", *float_detector())
    return folder / "best.pt"
