"""Accuracy and time of one model's detections under each method of `edgedet.ops.nms`.

    python benchmarks/nms_family.py MODEL.onnx DATA [--split val] [--iou-threshold 0.6]

The network runs once on each image. All methods are given the same candidates: scores above 0.001, the best 1000 of an
image; all are NumPy, on one thread, and of each the best 300 detections count. The last row is the kernel that
`edgedet eval` runs: it has to agree with the row above it. Milliseconds are of suppression alone, medians over images.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
from protocol import print_protocol

from edgedet.bench.pinning import pinned
from edgedet.boxes import Letterbox, areas
from edgedet.data.find import read_dataset, split_of
from edgedet.data.images import read_image
from edgedet.data.sample import Sample
from edgedet.evaluate.coco import coco_metrics
from edgedet.evaluate.run import SCORE_THRESHOLD, class_order
from edgedet.ops.diou_nms import DIoUNMS, native
from edgedet.ops.nms import cluster_nms, diou_nms, fast_nms, greedy_nms, soft_nms_gaussian, soft_nms_linear
from edgedet.runtime.detector import Detector
from edgedet.runtime.load import load_detector
from edgedet.runtime.results import Detections

PRE_NMS_TOP_K, MAX_DETECTIONS = 1000, 300


@dataclass(frozen=True)
class Output:
    """What the network gave for one image: boxes `[N, 4]` in input pixels, scores `[N, C]`."""

    boxes: np.ndarray
    scores: np.ndarray
    letterbox: Letterbox


@dataclass(frozen=True)
class Kept:
    """Detections of one image in input pixels, best first."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


Method = Callable[[Kept], Kept]
"""From candidates to what is kept of them."""

Run = Callable[[Output], tuple[Kept, float]]
"""What is kept of an image, and the seconds that suppression took."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--iou-threshold", type=float, default=0.6)
    parser.add_argument("--beta", type=float, default=1.0)
    parser.add_argument("--sigma", type=float, default=0.5)
    arguments = parser.parse_args()
    detector = load_detector(arguments.model, threads=1)
    if detector.has_nms:
        parser.error("NMS is inside this model: export it without --nms")
    dataset = read_dataset(arguments.data)
    samples = split_of(dataset, arguments.split)
    labels = class_order(detector.spec.class_names, dataset.class_names)
    overlap, beta = arguments.iou_threshold, arguments.beta
    runs: dict[str, Run] = {
        name: partial(timed, method) for name, method in methods(overlap, beta, arguments.sigma).items()
    }
    runs["DIoU, the kernel of `edgedet eval`"] = partial(by_kernel, overlap, beta)
    print("| method | mAP50-95 | mAP50 | mAP75 | AR100 | kept an image | ms an image |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with pinned(1):
        outputs = [network_output(detector, sample) for sample in samples]
        for name, run in runs.items():
            results = [run(output) for output in outputs]
            found = [
                as_detections(kept, output.letterbox, labels, dataset.class_names)
                for (kept, _), output in zip(results, outputs, strict=True)
            ]
            metrics = coco_metrics(samples, found, dataset.class_names)
            print(
                f"| {name} | {metrics.map:.4f} | {metrics.map50:.4f} | {metrics.map75:.4f} | {metrics.ar100:.4f} "
                f"| {statistics.mean(map(len, found)):.1f} "
                f"| {1e3 * statistics.median(seconds for _, seconds in results):.3g} |",
                flush=True,
            )
    settings = {"images": len(samples), "iou": overlap, "beta": beta, "sigma": arguments.sigma}
    print_protocol("edgedet", "onnxruntime", "numpy", **settings)


def network_output(detector: Detector, sample: Sample) -> Output:
    tensor, (letterbox,) = detector.preprocess([read_image(sample.image)])
    boxes, scores = detector.infer(tensor)
    return Output(boxes[0], scores[0], letterbox)


def as_detections(kept: Kept, letterbox: Letterbox, labels: np.ndarray, names: Sequence[str]) -> Detections:
    """In source pixels, with the data's class ids; without boxes of which nothing lies in the image."""
    xyxy = letterbox.to_source(kept.boxes)
    seen = areas(xyxy) > 0
    return Detections(xyxy[seen], kept.scores[seen], labels[kept.labels[seen]], tuple(names))


def methods(overlap: float, beta: float, sigma: float) -> dict[str, Method]:
    """By name; class-wise but where the name says otherwise."""
    return {
        "none": lambda found: found,
        "greedy, across classes": lambda found: chosen(
            found, greedy_nms(found.boxes, found.scores, iou_threshold=overlap)
        ),
        "greedy": lambda found: chosen(found, greedy_nms(*arrays(found), iou_threshold=overlap)),
        "Cluster-NMS": lambda found: chosen(found, cluster_nms(*arrays(found), iou_threshold=overlap)),
        "Fast-NMS": lambda found: chosen(found, fast_nms(*arrays(found), iou_threshold=overlap)),
        "Soft-NMS, linear": lambda found: softened(found, soft_nms_linear(*arrays(found))),
        "Soft-NMS, Gaussian": lambda found: softened(found, soft_nms_gaussian(*arrays(found), sigma=sigma)),
        "Cluster-NMS, DIoU": lambda found: chosen(found, cluster_nms(*arrays(found), iou_threshold=overlap, beta=beta)),
        "DIoU": lambda found: chosen(found, diou_nms(*arrays(found), iou_threshold=overlap, beta=beta)),
    }


def arrays(found: Kept) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return found.boxes, found.scores, found.labels


def chosen(found: Kept, indices: np.ndarray) -> Kept:
    return Kept(found.boxes[indices], found.scores[indices], found.labels[indices])


def softened(found: Kept, result: tuple[np.ndarray, np.ndarray]) -> Kept:
    indices, scores = result
    return Kept(found.boxes[indices], scores, found.labels[indices])


def timed(method: Method, output: Output) -> tuple[Kept, float]:
    """What the method keeps of the image's candidates, at most 300, and the seconds that it took."""
    found = candidates(output)
    start = perf_counter()
    kept = method(found)
    seconds = perf_counter() - start
    return chosen(kept, np.arange(min(len(kept.scores), MAX_DETECTIONS))), seconds


def by_kernel(overlap: float, beta: float, output: Output) -> tuple[Kept, float]:
    """The same by edgedet's CPU kernel, which finds the candidates itself."""
    attributes = DIoUNMS(SCORE_THRESHOLD, overlap, beta, PRE_NMS_TOP_K, MAX_DETECTIONS)
    start = perf_counter()
    kept = native.diou_nms(output.boxes, output.scores, attributes)
    return Kept(*kept), perf_counter() - start


def candidates(output: Output) -> Kept:
    """Pairs of box and class with a score above the threshold, the best 1000, best first."""
    flat = np.flatnonzero(output.scores > SCORE_THRESHOLD)
    flat = flat[np.argsort(-output.scores.reshape(-1)[flat], kind="stable")][:PRE_NMS_TOP_K]
    anchors, labels = np.divmod(flat, output.scores.shape[1])
    return Kept(output.boxes[anchors], output.scores[anchors, labels], labels)


if __name__ == "__main__":
    main()
