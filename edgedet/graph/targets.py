"""What an exported file can be made for, and the functions that make it of the master graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from onnx import ModelProto

from edgedet.errors import unknown_value
from edgedet.graph.lowerings.float16 import to_float16
from edgedet.graph.lowerings.float32_nodes import Ranges
from edgedet.graph.lowerings.fp32 import lower_to_fp32
from edgedet.graph.lowerings.ort_cpu import lower_for_ort_cpu
from edgedet.graph.lowerings.tensorrt import lower_for_tensorrt

MASTER, ORT_CPU = "master", "ort-cpu"


def _as_it_is(master: ModelProto) -> ModelProto:
    return master


@dataclass(frozen=True)
class Target:
    """What a file is made for.

    Attributes:
        place: gives the master the target's quantizers; float32 between them.
        float16: whether the result is then typed in float16.
        of_float: whether the master of a float detector can be lowered for it.
        functions: whether its files keep the functions that define edgedet's operators. TensorRT needs the plugins: it
            does not parse all of what the functions are made of, and before 10.7 it would take them before a plugin.
        gated: whether its files may have gated convolutions.
        rounds: whether quantizers stay.
    """

    place: Callable[[ModelProto], ModelProto]
    float16: bool = False
    of_float: bool = False
    functions: bool = True
    gated: bool = False
    rounds: bool = True


TARGETS: Mapping[str, Target] = {
    MASTER: Target(_as_it_is, of_float=True),
    ORT_CPU: Target(lower_for_ort_cpu, gated=True),
    "trt8": Target(lower_for_tensorrt, functions=False, gated=True),
    "trt10": Target(lower_for_tensorrt, functions=False, gated=True),
    "trt11": Target(lower_for_tensorrt, float16=True, functions=False),
    "fp16": Target(lower_to_fp32, float16=True, of_float=True, rounds=False),
    "fp32": Target(lower_to_fp32, of_float=True, rounds=False),
}


def place(master: ModelProto, target: str) -> ModelProto:
    """The graph for one of `TARGETS`, in float32 still: what the ranges of a float16 one are measured on."""
    require_target(target)
    return TARGETS[target].place(master)


def lower(master: ModelProto, target: str, ranges: Ranges | None = None) -> ModelProto:
    """The graph for one of `TARGETS`.

    Args:
        master: left as it is.
        target: its name.
        ranges: of `place(master, target)`; a float16 target needs them, others ignore them.

    Raises:
        ValueError: a float16 target, and no ranges.
    """
    placed = place(master, target)
    if not TARGETS[target].float16:
        return placed
    if ranges is None:
        raise ValueError(f"{target} needs the ranges of the tensors: see edgedet.graph.scan")
    return to_float16(placed, ranges)


def require_target(target: str) -> None:
    """Refuses a name that is none of `TARGETS`."""
    if target not in TARGETS:
        raise unknown_value("target", target, TARGETS, where="--target")
