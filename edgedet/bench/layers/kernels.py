"""ONNX Runtime's profile, kernel by kernel."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgedet.engine.inspect.formats import UNKNOWN, datatype_of
from edgedet.errors import EdgedetError

RUN, KERNEL_SUFFIX = "model_run", "_kernel_time"


@dataclass(frozen=True)
class Kernel:
    """What ONNX Runtime runs and times as one.

    Attributes:
        name: ONNX Runtime's, made from a node's of the file.
        operator: which.
        provider: which runs it.
        milliseconds: of each run.
        precision: the type that it reads first, as `edgedet.engine.inspect.formats.DATATYPES` calls it.
        shape: of its first output, in the layout that the kernel writes; None where the profile does not say.
        activation_bytes: of inputs that are no constants.
        parameter_bytes: of constants, but for weights that ONNX Runtime has packed anew.
        output_bytes: of outputs.
    """

    name: str
    operator: str
    provider: str
    milliseconds: tuple[float, ...]
    precision: str
    shape: tuple[int, ...] | None
    activation_bytes: int
    parameter_bytes: int
    output_bytes: int


def read_kernels(events: Sequence[Any], *, skip: int = 0) -> tuple[Kernel, ...]:
    """The kernels in the order in which they first ran.

    Args:
        events: of `edgedet.runtime.backends.onnxruntime.profile_runs`: a kernel's has `cat` Node, a name that ends in
            `_kernel_time`, and `args` with `op_name`, `provider`, `node_index`, `input_type_shape`,
            `output_type_shape`, `activation_size`, `parameter_size` and `output_size` (numbers in quotation marks).
        skip: runs at the beginning that do not count.

    Raises:
        EdgedetError: there is no run, or no kernel, in it.
    """
    timed = [event for event in events if isinstance(event, dict) and _number(event, "ts") is not None]
    starts = sorted(_number(event, "ts") or 0.0 for event in timed if event.get("name") == RUN)[skip:]
    sums: dict[tuple[str, str, str], list[float]] = {}
    first: dict[tuple[str, str, str], dict[str, Any]] = {}
    for event in sorted(timed, key=lambda event: _number(event, "ts") or 0.0):
        run = bisect_right(starts, _number(event, "ts") or 0.0) - 1
        name, args = event.get("name"), event.get("args")
        if run < 0 or not isinstance(name, str) or not name.endswith(KERNEL_SUFFIX) or not isinstance(args, dict):
            continue
        key = name, str(args.get("op_name")), str(args.get("node_index"))
        first.setdefault(key, args)
        sums.setdefault(key, [0.0] * len(starts))[run] += (_number(event, "dur") or 0.0) / 1e3
    if not sums:
        raise EdgedetError("ONNX Runtime's profile has no time of a kernel", fix="profile more runs than are skipped")
    return tuple(_kernel(key[0], sums[key], args) for key, args in first.items())


def _kernel(name: str, milliseconds: Sequence[float], args: Mapping[str, Any]) -> Kernel:
    reads, writes = _types(args.get("input_type_shape")), _types(args.get("output_type_shape"))
    return Kernel(
        name=name.removesuffix(KERNEL_SUFFIX),
        operator=str(args.get("op_name", UNKNOWN)),
        provider=str(args.get("provider", "")),
        milliseconds=tuple(milliseconds),
        precision=datatype_of(next(iter((*reads, *writes)), ("", ()))[0]),
        shape=writes[0][1] if writes else None,
        activation_bytes=int(_number(args, "activation_size") or 0),
        parameter_bytes=int(_number(args, "parameter_size") or 0),
        output_bytes=int(_number(args, "output_size") or 0),
    )


def _types(listed: Any) -> list[tuple[str, tuple[int, ...] | None]]:
    """Type and sizes of each tensor, of `[{"float": [1, 3, 96, 96]}, ...]`."""
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    return [(str(word), _sizes(sizes)) for entry in entries for word, sizes in entry.items()]


def _sizes(sizes: Any) -> tuple[int, ...] | None:
    return tuple(sizes) if isinstance(sizes, list) and all(type(size) is int for size in sizes) else None


def _number(values: Mapping[str, Any], key: str) -> float | None:
    value = values.get(key)
    try:
        return float(value) if isinstance(value, str | int | float) else None
    except (ValueError, OverflowError):
        return None
