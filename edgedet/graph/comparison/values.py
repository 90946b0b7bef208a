"""What a model's tensors hold, as any engine computes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from edgedet.graph.comparison.points import Point
from edgedet.graph.comparison.segments import Segments

Array = NDArray[Any]


class Values(Protocol):
    """A model whose tensors can be looked at."""

    @property
    def engine(self) -> str:
        """What computes it, and its version."""
        ...

    @property
    def points(self) -> Sequence[Point]:
        """Its tensors, in the order of computation."""
        ...

    @property
    def before(self) -> Segments:
        """What stands between them."""
        ...

    def run(self, images: Array, wanted: Sequence[Point]) -> dict[str, Array]:
        """The values that readers of the wanted points see, by the points' names, as the engine computes them."""
        ...

    def recompute(self, images: Array, given: Mapping[str, Array]) -> dict[str, Array]:
        """What each point that is given is before it is rounded, computed of the others as they are given.

        Args:
            images: the network's input.
            given: values by the points' names.
        """
        ...
