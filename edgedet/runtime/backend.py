"""The small protocol through which the runtime knows inference engines. A backend is one file in `backends/`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Outputs = Mapping[str, NDArray[Any]]
"""By name: `boxes [B, N, 4]` and `scores [B, N, C]` float32, the boxes in input pixels; or, of a model with NMS inside,
`num_dets [B, 1]` int32, `det_boxes [B, K, 4]`, `det_scores [B, K]` float32 and `det_classes [B, K]` int32."""

NMS_OUTPUTS = ("num_dets", "det_boxes", "det_scores", "det_classes")

Size = TypeVar("Size")


def nms_shapes(batch: Size, rows: int) -> list[tuple[Size | int, ...]]:
    """The shapes of `NMS_OUTPUTS`."""
    return [(batch, 1), (batch, rows, 4), (batch, rows), (batch, rows)]


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a backend.

    Attributes:
        name: the tensor's name, e.g. `images`.
        shape: sizes; None where a size is only known when running.
        dtype: NumPy's type of its elements.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]


class Backend(Protocol):
    """A loaded model that can be run.

    Attributes:
        name: the engine, its version and where it runs, e.g. `onnxruntime 1.20.0 (CPU)`.
        inputs: what `run` must be fed.
        outputs: what `run` returns.
        settings: what else its speed depends on, by name.
    """

    name: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    settings: Mapping[str, Any]

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs by name, for the inputs by name."""
        ...

    def bind(self, feeds: Mapping[str, NDArray[Any]]) -> Callable[[], object]:
        """A call that does `run`'s work on these inputs, with as little beside it as the engine allows."""
        ...
