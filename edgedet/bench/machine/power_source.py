"""What tells how much power something takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edgedet.bench.machine.tegrastats_line import TegrastatsSample


@dataclass(frozen=True)
class Reading:
    """What was read at once.

    Attributes:
        watts: by rail; on average since the reading before, or at this moment, as the source has it.
        throttle_reasons: why the GPU is slower than it can be at this moment.
        celsius: the GPU's temperature.
        board: what else a Jetson said of itself.
    """

    watts: dict[str, float]
    throttle_reasons: tuple[str, ...] = ()
    celsius: float | None = None
    board: TegrastatsSample | None = None


class PowerSource(Protocol):
    """A source that was found and opened.

    Attributes:
        name: e.g. `tegrastats`.
        covers: what the total is the power of.
    """

    name: str
    covers: str

    def read(self) -> Reading | None:
        """What is new, without waiting for it; None where nothing is.

        Raises:
            EdgedetError: the source has ended, or says something else than power.
        """
        ...

    def total_rails(self, rails: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the rails that add up to the total; empty where that is not known."""
        ...

    def close(self) -> None:
        """Ends it."""
        ...
