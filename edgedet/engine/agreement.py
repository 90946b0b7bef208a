"""Whether an engine gives what ONNX Runtime gives of the same network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgedet.boxes import pairwise_iou
from edgedet.engine.network import Network
from edgedet.errors import CheckFailedError
from edgedet.graph.verify import (
    FLOAT16_TOLERANCE,
    FLOAT_TOLERANCE,
    INT8_TOLERANCE,
    Images,
    Tolerance,
    compare,
    require_agreement,
)
from edgedet.runtime.backend import Backend
from edgedet.runtime.backends.onnxruntime import OnnxRuntimeBackend, open_session
from edgedet.runtime.detector import Detector
from edgedet.runtime.results import Detections
from edgedet.trt.versions import FP16, FP32, INT8

TOLERANCES: dict[str, Tolerance] = {FP32: FLOAT_TOLERANCE, FP16: FLOAT16_TOLERANCE, INT8: INT8_TOLERANCE}

SURE = 0.05
"""A score so far above the threshold does not fall below it by rounding (`INT8_TOLERANCE` has .04)."""

SAME_BOX, SAME_SHARE = 0.7, 0.9
"""Two boxes are one from this IoU on, and two runtimes agree if they share so many of the sure ones."""


@dataclass(frozen=True)
class Comparison:
    """How far an engine differs from ONNX Runtime.

    Attributes:
        source, images: what it was compared on.
        box_error, score_error: of boxes and scores, see `edgedet.graph.verify.Agreement`; None where the engine gives
            detections.
        box_tolerance, score_tolerance: what they are held to.
        shared: of the sure detections of each, the share that the other has too, the lower one; None where the engine
            gives boxes.
        sure: how many ONNX Runtime is sure of.
    """

    source: str
    images: int
    box_error: float | None = None
    score_error: float | None = None
    box_tolerance: float | None = None
    score_tolerance: float | None = None
    shared: float | None = None
    sure: int | None = None


def compare_engine(backend: Backend, network: Network, images: Images, *, where: Path) -> Comparison:
    """Holds an engine to ONNX Runtime on images.

    Raises:
        CheckFailedError: they differ by more than rounding.
    """
    session = open_session(network.reference.SerializeToString(), where)
    reference = Detector(OnnxRuntimeBackend(session, "cpu"), network.spec)
    engine = Detector(backend, network.spec)
    if network.has_nms:
        return _compare_detections(reference, engine, images, where=where)
    agreement = compare(reference, engine, images, TOLERANCES[network.precision])
    require_agreement(agreement, what="the engine does not agree with ONNX Runtime", where=where)
    return Comparison(
        agreement.source,
        agreement.images,
        agreement.box_error,
        agreement.score_error,
        agreement.tolerance.box,
        agreement.tolerance.score,
    )


def _compare_detections(reference: Detector, engine: Detector, images: Images, *, where: Path) -> Comparison:
    pairs = list(zip(reference.detect(images.images), engine.detect(images.images), strict=True))
    threshold = reference.spec.postprocess.score_threshold + SURE
    found = np.concatenate([_shared(expected, given, threshold) for expected, given in pairs])
    right = np.concatenate([_shared(given, expected, threshold) for expected, given in pairs])
    share = min(float(flags.mean()) if len(flags) else 1.0 for flags in (found, right))
    if share < SAME_SHARE:
        raise CheckFailedError(
            f"the engine and ONNX Runtime share {share:.0%} of their {len(right)} and {len(found)} sure detections on "
            f"{len(images.images)} images ({images.source}), not {SAME_SHARE:.0%}",
            where=where,
            fix="compare on your own images (--data), or build with --precision fp16 or fp32",
        )
    return Comparison(images.source, len(images.images), shared=share, sure=len(found))


def _shared(expected: Detections, found: Detections, threshold: float) -> NDArray[np.bool_]:
    sure = expected.score >= threshold
    same_class = expected.class_id[sure, None] == found.class_id[None, :]
    overlaps = pairwise_iou(expected.xyxy[sure], found.xyxy)
    result: NDArray[np.bool_] = ((overlaps >= SAME_BOX) & same_class).any(axis=1)
    return result
