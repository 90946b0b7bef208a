"""Post-training quantization of a checkpoint: calibration on the user's images, and what it costs in accuracy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from edgedet.data.find import read_dataset, split_of
from edgedet.data.images import read_image
from edgedet.data.sample import Sample
from edgedet.errors import CheckFailedError, EdgedetError
from edgedet.evaluate.coco import Metrics
from edgedet.evaluate.run import evaluate
from edgedet.files import require_writable_folder
from edgedet.models.checkpoint import load_checkpoint, save_checkpoint
from edgedet.models.detector import DecodedDetector, DetectionNetwork
from edgedet.models.quantized.detector import QuantizedDetector
from edgedet.models.quantized.recipe import Recipe
from edgedet.progress import Track, no_progress
from edgedet.quant.calibrate import calibration_record, observe, quantize
from edgedet.quant.images import calibration_images, tensors
from edgedet.quant.ranges import range_of, require_method
from edgedet.quant.sensitivity import EdgeError, edge_errors
from edgedet.runtime import detector as runtime
from edgedet.runtime.backends.torch import TorchBackend
from edgedet.spec import Spec

RANKED_IMAGES = 16
RANKED_SCORE = 0.05
REGAINED_EDGES = 5


@dataclass(frozen=True)
class Quantization:
    """A written INT8 checkpoint and how it compares with the float one.

    Attributes:
        path: of the checkpoint.
        recipe: how it was made.
        edges: how many grids it has.
        split: what both were evaluated on.
        float_metrics: of the float checkpoint.
        int8_metrics: of the INT8 one.
        rank_correlation: Spearman's, of the scores of both where the float one's exceed 0.05.
        sensitivity: what each edge costs on its own, the worst first; empty where it was not asked for.
        regained: mAP of the INT8 checkpoint with one of the worst edges float again, by edge.
    """

    path: Path
    recipe: Recipe
    edges: int
    split: str
    float_metrics: Metrics
    int8_metrics: Metrics
    rank_correlation: float
    sensitivity: tuple[EdgeError, ...] = ()
    regained: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """A plain record, ready for JSON."""
        return {
            "path": str(self.path),
            "edges": self.edges,
            "recipe": self.recipe.model_dump(),
            "split": self.split,
            "float": self.float_metrics.to_dict(),
            "int8": self.int8_metrics.to_dict(),
            "rank_correlation": self.rank_correlation,
            "sensitivity": [asdict(one) for one in self.sensitivity],
            "regained": dict(self.regained),
        }


def quantize_checkpoint(
    model: Path,
    data: Path,
    out: Path | None = None,
    *,
    method: str = "mse",
    images: int = 128,
    split: str = "train",
    eval_split: str = "val",
    keep_float: Sequence[str] = (),
    keep_worst: int = 0,
    max_drop: float | None = None,
    sensitivity: bool = False,
    track: Track = no_progress,
) -> Quantization:
    """Calibrates a float checkpoint, evaluates both, and writes the INT8 one.

    Args:
        model: the float checkpoint.
        data: the dataset to calibrate and to evaluate on.
        out: the file to write; None means `<name>-int8.pt` beside the checkpoint.
        method: how a grid's end is chosen, one of `edgedet.quant.ranges.METHODS`.
        images: how many to calibrate on, spread evenly over the split.
        split: to calibrate on.
        eval_split: to evaluate both on.
        keep_float: edges that are not rounded.
        keep_worst: so many of the edges that cost most on their own are not rounded either.
        max_drop: points of mAP (hundredths) that the INT8 checkpoint may lose: more and more of the worst edges stay
            float until it loses no more.
        sensitivity: tell what each edge costs on its own, and what keeping one of the worst float regains.
        track: watches the long loops.

    Raises:
        EdgedetError: the checkpoint is quantized already, or the images do not do.
        CheckFailedError: a value is not finite, or the budget cannot be kept.
    """
    require_method(method)
    out = model.with_name(f"{model.stem}-int8.pt") if out is None else out
    if out.resolve() == model.resolve():
        raise EdgedetError("would replace the float checkpoint", where=out, fix="choose another --out")
    if out.is_dir():
        raise EdgedetError("the path is a folder", where=out, fix="name a file")
    if max_drop is not None and not max_drop >= 0:
        raise EdgedetError(f"{max_drop} is no number of points", where="--max-drop", fix="give 0 or more")
    require_writable_folder(out.parent)
    checkpoint = load_checkpoint(model)
    detector, spec = checkpoint.float_detector, checkpoint.spec
    dataset = read_dataset(data)
    judged = split_of(dataset, eval_split)
    QuantizedDetector(detector, Recipe(keep_float=tuple(keep_float)))  # an unknown edge is refused before the long work
    chosen, pixels_sha256 = calibration_images(split_of(dataset, split), images, where=data)
    calibration = calibration_record(
        detector, spec.preprocess, method=method, images=len(chosen), images_sha256=pixels_sha256
    )
    histograms = observe(detector, partial(tensors, chosen, spec.preprocess, track))

    def made(float_edges: Sequence[str]) -> QuantizedDetector:
        recipe = Recipe(keep_float=tuple(dict.fromkeys(float_edges)), calibration=calibration)
        return quantize(detector, histograms, method=method, recipe=recipe)

    def judge(network: DetectionNetwork) -> Metrics:
        return evaluate(runtime_of(network, spec), judged, dataset.class_names, track=track).metrics

    errors: tuple[EdgeError, ...] = ()
    if sensitivity or keep_worst or max_drop is not None:
        ranges = {name: range_of(histogram, method) for name, histogram in histograms.items()}
        some = [tensor for tensor, _ in tensors(chosen[:RANKED_IMAGES], spec.preprocess, no_progress)]
        errors = edge_errors(detector, ranges, some, track)
    worst = [one.edge for one in errors if one.edge not in keep_float]
    float_metrics = judge(detector)
    quantized = made([*keep_float, *worst[:keep_worst]])
    int8_metrics = judge(quantized)
    kept = keep_worst
    while max_drop is not None and float_metrics.map - int8_metrics.map > max_drop / 100:
        if kept >= len(worst):
            raise CheckFailedError(f"INT8 loses more than {max_drop:g} points whatever stays float", where=model)
        kept = min(max(2 * kept, 1), len(worst))
        quantized = made([*keep_float, *worst[:kept]])
        int8_metrics = judge(quantized)
    shown = [edge for edge in worst if edge not in quantized.recipe.keep_float][:REGAINED_EDGES] if sensitivity else []
    regained = {edge: judge(made([*quantized.recipe.keep_float, edge])).map for edge in shown}
    correlation = rank_correlation(runtime_of(detector, spec), runtime_of(quantized, spec), chosen[:RANKED_IMAGES])
    save_checkpoint(out, quantized, spec)
    return Quantization(
        out,
        quantized.recipe,
        len(quantized.edges),
        eval_split,
        float_metrics,
        int8_metrics,
        correlation,
        errors if sensitivity else (),
        regained,
    )


def rank_correlation(first: runtime.Detector, second: runtime.Detector, samples: Iterable[Sample]) -> float:
    """Spearman's rank correlation of two detectors' scores, where the first's exceed 0.05; 1 where none does."""
    pairs = []
    for sample in samples:
        tensor, _ = first.preprocess([read_image(sample.image)])
        scores = [one.infer(tensor)[1].ravel() for one in (first, second)]
        pairs.append(np.stack(scores)[:, scores[0] > RANKED_SCORE])
    a, b = np.concatenate(pairs, axis=1)
    if len(a) < 2:
        return 1.0
    ranks = _ranks(a), _ranks(b)
    return float(np.corrcoef(*ranks)[0, 1]) if ranks[0].std() and ranks[1].std() else 0.0


def _ranks(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Places in ascending order; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse], np.float64)


def runtime_of(network: DetectionNetwork, spec: Spec) -> runtime.Detector:
    """A network with its pre- and post-processing, computed by PyTorch on the CPU."""
    decoded: nn.Module = DecodedDetector(network, spec.preprocess.height, spec.preprocess.width)
    return runtime.Detector(TorchBackend(decoded), spec)
