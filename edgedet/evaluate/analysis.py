"""What is worked out of an evaluation beside COCO's metrics, where it is asked for: as data and as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet.data.sample import Sample
from edgedet.data.sheet import save_sheet
from edgedet.evaluate.coco import ScoredBoxes
from edgedet.evaluate.confusion import SCORE_THRESHOLD, ConfusionMatrix, confusion_matrix
from edgedet.evaluate.f1 import F1Curves, f1_curves
from edgedet.evaluate.matching import match
from edgedet.evaluate.plots import confusion_figure, errors_figure, f1_figure, save_figure
from edgedet.evaluate.tide import FOREGROUND, ErrorAnalysis, error_analysis
from edgedet.evaluate.voc import VocMetrics, voc_metrics
from edgedet.evaluate.worst import worst_errors


@dataclass(frozen=True)
class Wanted:
    """What is asked for.

    Attributes:
        voc: Pascal VOC's AP.
        f1: F1 against the score threshold.
        confusion: the confusion matrix.
        errors: errors by cause.
        confusion_score: detections with a score above it are counted in the confusion matrix.
    """

    voc: bool = False
    f1: bool = False
    confusion: bool = False
    errors: bool = False
    confusion_score: float = SCORE_THRESHOLD


NOTHING = Wanted()


@dataclass(frozen=True)
class Analysis:
    """What was worked out; None is what was not asked for."""

    voc: VocMetrics | None = None
    f1: F1Curves | None = None
    confusion: ConfusionMatrix | None = None
    errors: ErrorAnalysis | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it, without what was not asked for."""
        return {name: part.to_dict() for name, part in vars(self).items() if part is not None}


def analyse(
    samples: Sequence[Sample], detections: Sequence[ScoredBoxes], class_names: Sequence[str], wanted: Wanted
) -> Analysis:
    """Works out what is wanted of `detections[i]`, found on the image of `samples[i]`.

    Raises:
        ValueError: not one entry of `detections` for each sample.
    """
    matches = match(samples, detections, FOREGROUND) if wanted.f1 or wanted.errors else None
    return Analysis(
        voc=voc_metrics(samples, detections, class_names) if wanted.voc else None,
        f1=f1_curves(matches, class_names) if matches is not None and wanted.f1 else None,
        confusion=confusion_matrix(samples, detections, class_names, score_threshold=wanted.confusion_score)
        if wanted.confusion
        else None,
        errors=error_analysis(matches, len(class_names)) if matches is not None and wanted.errors else None,
    )


def draw(analysis: Analysis, samples: Sequence[Sample], class_names: Sequence[str], folder: Path) -> tuple[Path, ...]:
    """Writes the pictures of what was worked out into a folder, each all or nothing; their paths.

    `f1.png`, `confusion.png`, `errors.png` and `worst_errors.png`.
    """
    figures = {}
    if analysis.f1 is not None:
        figures["f1.png"] = f1_figure(analysis.f1)
    if analysis.confusion is not None:
        figures["confusion.png"] = confusion_figure(analysis.confusion)
    if analysis.errors is not None:
        figures["errors.png"] = errors_figure(analysis.errors)
    paths = [folder / name for name in figures]
    for path, figure in zip(paths, figures.values(), strict=True):
        save_figure(figure, path)
    if analysis.errors is not None:
        paths.append(folder / "worst_errors.png")
        save_sheet(worst_errors(samples, class_names, analysis.errors), paths[-1])
    return tuple(paths)
