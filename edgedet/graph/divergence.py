"""Which tensor a failed export first goes wrong at."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from onnx import ModelProto

from edgedet.errors import CheckFailedError, EdgedetError
from edgedet.graph.comparison.inputs import inputs_for
from edgedet.graph.comparison.result import finding
from edgedet.graph.comparison.run import compare_sides
from edgedet.graph.comparison.side import onnx_side, torch_side
from edgedet.graph.verify import GENERATED, Images
from edgedet.models.detector import DetectionNetwork
from edgedet.spec import Spec

FIX = "nothing was written; report it with the versions of torch, onnx and onnxruntime"
FIX_GENERATED = (
    "nothing was written; compare on images that the detector was made for (--data DATASET): of others it is unsure, "
    "and rounding moves what it is unsure of"
)
NONE = "no tensor diverges by itself: rounding adds up to this, or folding made something else of the network"


def located(
    error: CheckFailedError, detector: DetectionNetwork, spec: Spec, graphs: Sequence[ModelProto], images: Images
) -> CheckFailedError:
    """The error, with the first tensor from which a graph differs from what it was made of.

    Args:
        error: what does not hold.
        detector: what was exported.
        spec: its specification.
        graphs: its master, and a lowering of it where there is one.
        images: what they are compared on.
    """
    try:
        first = _first(detector, spec, graphs, images)
    except EdgedetError:
        return error  # what keeps two graphs from being compared is no better news
    fix = FIX_GENERATED if first is None and images.source == GENERATED else FIX
    return CheckFailedError(f"{error.what}; {first or NONE}", where=error.where, fix=error.fix or fix)


def require_tensors_agree(
    detector: DetectionNetwork, spec: Spec, graphs: Sequence[ModelProto], images: Images, *, where: Path
) -> None:
    """Refuses graphs of which a tensor differs from what it was made of, see `edgedet.graph.comparison`.

    Args:
        detector: what was exported.
        spec: its specification.
        graphs: its master, and a lowering of it where there is one.
        images: what they are compared on.
        where: the file.

    Raises:
        CheckFailedError: it names the first such tensor.
    """
    if first := _first(detector, spec, graphs, images):
        raise CheckFailedError(first, where=where, fix=FIX)


def _first(detector: DetectionNetwork, spec: Spec, graphs: Sequence[ModelProto], images: Images) -> str | None:
    sides = [onnx_side(graph, Path(name)) for name, graph in zip(("the master", "the lowering"), graphs, strict=False)]
    checkpoint = torch_side(detector, spec, Path("the checkpoint"), batch=sides[0].sizes[0] or 1)
    for a, b in pairwise([checkpoint, *sides]):
        comparison = compare_sides(a, b, inputs_for(a, b, images=images))
        if comparison.first is not None:
            return f"between {a.path} and {b.path}, {finding(comparison)}"
    return None
