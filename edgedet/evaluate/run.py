"""Evaluation of a detector, of a model file or of a results file on labelled images."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.data.clean import reader_summary, require_known_classes
from edgedet.data.find import DEFAULT_SPLIT, read_dataset, split_of
from edgedet.data.images import read_image
from edgedet.data.sample import Dataset, Sample
from edgedet.errors import EdgedetError
from edgedet.evaluate.analysis import NOTHING, Analysis, Wanted, analyse, draw
from edgedet.evaluate.coco import Metrics, ScoredBoxes, coco_metrics
from edgedet.evaluate.plots import save_precision_recall
from edgedet.evaluate.predictions import category_ids, read_results, write_results
from edgedet.files import require_writable_folder
from edgedet.progress import Track, no_progress
from edgedet.runtime.detector import Detector, Timings
from edgedet.runtime.load import load_detector
from edgedet.runtime.results import Detections

logger = logging.getLogger(__name__)

SCORE_THRESHOLD = 0.001
"""Low enough for the whole precision-recall curve: a threshold meant for use would cut its end off."""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        metrics: COCO's numbers.
        images: how many images they are of.
        speed: milliseconds an image by stage, averaged over all batches but the first, which warms up (over that one
            where it is the only one); None where a results file was scored.
        detections: what was found on each image; class ids in the order of the data's classes.
        analysis: what was asked for beside COCO's numbers.
        pictures: the files that were drawn.
    """

    metrics: Metrics
    images: int
    speed: Timings | None
    detections: Sequence[ScoredBoxes] = field(repr=False, compare=False)
    analysis: Analysis = field(default=Analysis(), repr=False, compare=False)
    pictures: tuple[Path, ...] = field(default=(), repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The numbers as JSON can hold them; `pictures`, as text, where any were drawn."""
        speed = None if self.speed is None else self.speed.to_dict()
        pictures = {"pictures": [str(path) for path in self.pictures]} if self.pictures else {}
        numbers = {"images": self.images, **self.metrics.to_dict(), "speed_ms_per_image": speed}
        return {**numbers, **self.analysis.to_dict(), **pictures}


def evaluate(
    detector: Detector,
    samples: Sequence[Sample],
    class_names: Sequence[str],
    *,
    batch: int = 8,
    read: Callable[[Path], NDArray[np.uint8]] = read_image,
    track: Track = no_progress,
) -> Evaluation:
    """COCO's metrics of a detector on labelled images.

    Everything with a score above 0.001 is counted, or, where NMS is inside the model, above its threshold; the other
    settings of the detector's NMS stay.

    Args:
        detector: what is evaluated; its classes must be those of the data, in any order.
        samples: the labelled images.
        class_names: the data's classes, in label order.
        batch: images that are run together.
        read: gives the image, uint8 `[h, w, 3]` BGR, of a file.
        track: watches the batches.

    Raises:
        EdgedetError: the classes differ, or an image cannot be read.
    """
    labels = class_order(detector.spec.class_names, class_names)
    if detector.has_nms:
        threshold = detector.spec.postprocess.score_threshold
        logger.warning("NMS is inside the model: of detections below its score threshold, %g, none counts", threshold)
    else:
        detector = detector.with_postprocess(score_threshold=SCORE_THRESHOLD)
    found: list[Detections] = []
    batch_timings: list[tuple[int, Timings]] = []
    for start in track(range(0, len(samples), batch), "evaluating"):
        images = [read(sample.image) for sample in samples[start : start + batch]]
        found += detector.detect(images)
        batch_timings.append((len(images), detector.timings))
    detections = [Detections(one.xyxy, one.score, labels[one.class_id], tuple(class_names)) for one in found]
    metrics = coco_metrics(samples, detections, class_names)
    return Evaluation(metrics, len(samples), _per_image(batch_timings), detections)


def evaluate_model(
    model: Path,
    data: Path,
    *,
    split: str | None = None,
    batch: int = 8,
    threads: int | None = None,
    device: str | None = None,
    operators: Path | None = None,
    force: bool = False,
    allow_code: bool = False,
    save_predictions: Path | None = None,
    plots: Path | None = None,
    wanted: Wanted = NOTHING,
    track: Track = no_progress,
) -> Evaluation:
    """Evaluates a model file on a split of a dataset; `evaluate` on paths.

    Args:
        model: any file that `edgedet.runtime.load.load_detector` takes.
        data: any dataset that `edgedet.data.find.read_dataset` takes.
        split: None means the dataset's only split, else `val`.
        batch: images that are run together.
        threads: threads for inference; None lets the backend choose.
        device: `cpu` (None is the same), `cuda`, ...
        operators, force, allow_code: see `load_detector`.
        save_predictions: where the detections are written as a COCO results file.
        plots: folder for the pictures: the precision-recall curve, and those of what is wanted.
        wanted: what is worked out beside COCO's metrics.
        track: watches the batches.
    """
    _require_writable(plots, save_predictions)
    if save_predictions is not None and save_predictions.resolve() in (model.resolve(), data.resolve()):
        raise EdgedetError("would replace what is evaluated", where=save_predictions, fix="name another file")
    detector = load_detector(
        model, threads=threads, device=device, operators=operators, force=force, allow_code=allow_code
    )
    dataset = read_dataset(data)
    samples = _samples(dataset, split)
    evaluation = evaluate(detector, samples, dataset.class_names, batch=batch, track=track)
    if save_predictions is not None:
        write_results(save_predictions, samples, evaluation.detections, category_ids(dataset))
    return _completed(evaluation, samples, dataset.class_names, wanted, plots)


def evaluate_results(
    results: Path, data: Path, *, split: str | None = None, plots: Path | None = None, wanted: Wanted = NOTHING
) -> Evaluation:
    """Scores a COCO results file (`edgedet.evaluate.predictions` says how it names images and classes).

    Args:
        results: the results file, of whatever detector.
        data: any dataset that `edgedet.data.find.read_dataset` takes.
        split: None means the dataset's only split, else `val`.
        plots: folder for the pictures: the precision-recall curve, and those of what is wanted.
        wanted: what is worked out beside COCO's metrics.
    """
    _require_writable(plots, None)
    dataset = read_dataset(data)
    samples = _samples(dataset, split)
    detections = read_results(results, samples, category_ids(dataset))
    evaluation = Evaluation(coco_metrics(samples, detections, dataset.class_names), len(samples), None, detections)
    return _completed(evaluation, samples, dataset.class_names, wanted, plots)


def class_order(model_names: Sequence[str], data_names: Sequence[str]) -> NDArray[np.int64]:
    """For each class of a model `[C]` its place among the data's classes.

    Raises:
        EdgedetError: they are not the same classes.
    """
    if tuple(model_names) == tuple(data_names):
        return np.arange(len(model_names), dtype=np.int64)
    missing, surplus = Counter(data_names) - Counter(model_names), Counter(model_names) - Counter(data_names)
    if missing or surplus:
        raise EdgedetError(
            f"the model's classes are not the data's: the model has {_listed(model_names)}; "
            f"the data has {_listed(data_names)}",
            fix="evaluate on data with the classes that the model was trained on",
        )
    places = {name: place for place, name in enumerate(data_names)}
    return np.array([places[name] for name in model_names], dtype=np.int64)


def _samples(dataset: Dataset, split: str | None) -> tuple[Sample, ...]:
    if split is None:
        split = next(iter(dataset.splits)) if len(dataset.splits) == 1 else DEFAULT_SPLIT
    samples = split_of(dataset, split)
    require_known_classes(dataset, split)
    if summary := reader_summary(dataset, split):
        logger.warning("%s: %s", split, summary)
    return samples


def _per_image(batch_timings: list[tuple[int, Timings]]) -> Timings | None:
    warm = batch_timings[1:] or batch_timings
    images = sum(count for count, _ in warm)
    if not images:
        return None
    return Timings(
        sum(timings.preprocess for _, timings in warm) / images,
        sum(timings.inference for _, timings in warm) / images,
        sum(timings.postprocess for _, timings in warm) / images,
    )


def _require_writable(plots: Path | None, save_predictions: Path | None) -> None:
    """Finds out before the long work, not after it."""
    for folder in (plots, None if save_predictions is None else save_predictions.parent):
        if folder is not None:
            require_writable_folder(folder)


def _completed(
    evaluation: Evaluation,
    samples: Sequence[Sample],
    class_names: Sequence[str],
    wanted: Wanted,
    folder: Path | None,
) -> Evaluation:
    """With what is wanted beside COCO's metrics, and with pictures where there is a folder for them."""
    analysis = analyse(samples, evaluation.detections, class_names, wanted)
    if folder is None:
        return replace(evaluation, analysis=analysis)
    curve = folder / "precision_recall.png"
    save_precision_recall(evaluation.metrics, curve)
    return replace(evaluation, analysis=analysis, pictures=(curve, *draw(analysis, samples, class_names, folder)))


def _listed(names: Sequence[str], most: int = 20) -> str:
    listed = ", ".join(names[:most])
    return f"{len(names)} ({listed}{', ...' if len(names) > most else ''})"
