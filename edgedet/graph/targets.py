"""What an exported file can be made for, and the function that makes it of the master graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from onnx import ModelProto

from edgedet.errors import unknown_value
from edgedet.graph.lowerings.fp32 import lower_to_fp32
from edgedet.graph.lowerings.ort_cpu import lower_for_ort_cpu
from edgedet.graph.lowerings.tensorrt import lower_for_tensorrt

MASTER, ORT_CPU = "master", "ort-cpu"


def _as_it_is(master: ModelProto) -> ModelProto:
    return master


TARGETS: Mapping[str, Callable[[ModelProto], ModelProto]] = {
    MASTER: _as_it_is,
    ORT_CPU: lower_for_ort_cpu,
    "trt8": lower_for_tensorrt,
    "trt10": lower_for_tensorrt,
    "fp32": lower_to_fp32,
}


def lower(master: ModelProto, target: str) -> ModelProto:
    """The graph for one of `TARGETS`."""
    require_target(target)
    return TARGETS[target](master)


def require_target(target: str) -> None:
    """Refuses a name that is none of `TARGETS`."""
    if target not in TARGETS:
        raise unknown_value("target", target, TARGETS, where="--target")
