"""What a run looks like: curves of the loss and of mAP, precision over recall, validation images with predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from edgedet.data.sample import Sample
from edgedet.data.sheet import contact_sheet, save_sheet, spread
from edgedet.evaluate.coco import ScoredBoxes
from edgedet.evaluate.plots import save_precision_recall
from edgedet.evaluate.run import evaluate
from edgedet.files import atomic_path
from edgedet.runtime.detector import Detector
from edgedet.train.folder import RunFolder
from edgedet.train.loader import read_image_or_grey

METRICS = ("map", "map50", "map75")
SHEET_IMAGES = 12


def save_curves(records: Sequence[dict[str, Any]], path: Path) -> None:
    """The loss and mAP of each epoch of `metrics.jsonl`, as one PNG."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    losses, metrics = figure.subplots(1, 2)
    for name in dict.fromkeys(name for record in records for name in record if name.split("_")[0] == "loss"):
        losses.plot(*_series(records, name), label=name.replace("_", " "))
    for name in METRICS:
        metrics.plot(*_series(records, name), marker="o", markersize=3, label=name)
    losses.set(title="Training loss", xlabel="epoch", ylim=(0, None))
    metrics.set(title="Validation mAP", xlabel="epoch", ylim=(0, 1))
    for axes in (losses, metrics):
        axes.grid(alpha=0.3)
        axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def draw_run(
    folder: RunFolder, records: Sequence[dict[str, Any]], detector: Detector, samples: Sequence[Sample]
) -> None:
    """Writes `curves.png`, `precision_recall.png` and `predictions.png` into the run's folder.

    Args:
        folder: of the run.
        records: the lines of `metrics.jsonl`.
        detector: the best of the run.
        samples: of the validation split.
    """
    save_curves(records, folder.curves)
    evaluation = evaluate(detector, samples, detector.spec.class_names, read=read_image_or_grey)
    save_precision_recall(evaluation.metrics, folder.precision_recall)
    threshold = detector.spec.postprocess.score_threshold
    predicted = [
        _as_labels(sample, found, threshold) for sample, found in zip(samples, evaluation.detections, strict=True)
    ]
    sheet = contact_sheet(
        spread(predicted, SHEET_IMAGES),
        detector.spec.class_names,
        title=f"Predictions on the validation split, score above {threshold}",
        without_boxes="nothing found",
    )
    save_sheet(sheet, folder.predictions)


def _as_labels(sample: Sample, found: ScoredBoxes, threshold: float) -> Sample:
    """The sample with what was found in the place of what is labelled."""
    kept = found.score > threshold
    return replace(
        sample,
        boxes=found.xyxy[kept].astype(np.float32),
        labels=found.class_id[kept].astype(np.int64),
        ignore=np.zeros(int(kept.sum()), dtype=np.bool_),
        areas=None,
    )


def _series(records: Sequence[dict[str, Any]], name: str) -> tuple[list[int], list[float]]:
    measured = [(record["epoch"], record[name]) for record in records if record.get(name) is not None]
    return [epoch for epoch, _ in measured], [value for _, value in measured]
