"""Where each channel of a ShuffleNetV2 stage comes from and who reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class ShufflePlan:
    """An order of every convolution's output channels in which each reader takes one contiguous slice of each.

    Sources are the convolutions whose channels are shuffled: the first unit's `branch1`, then every unit's `branch2`.
    Readers are the second unit and those after it, then whoever reads the stage. Channels count as in the unfolded
    stage: those of a source as it gives them, those of a unit as its `branch2` takes them, those of the stage as it
    gives them.

    Attributes:
        source_orders: of each source, the channel that comes first, second, ...
        reader_orders: of each reader, the channel that arrives first, second, ...; what it takes of the first source
            arrives first.
        shares: `[source][reader]`, the number of channels that the reader takes of the source.
    """

    source_orders: tuple[tuple[int, ...], ...]
    reader_orders: tuple[tuple[int, ...], ...]
    shares: tuple[tuple[int, ...], ...]


def plan_shuffles(channels: int, units: int) -> ShufflePlan:
    """Follows every channel through the shuffles of a stage.

    Args:
        channels: of each branch, half of the stage's.
        units: of the stage, at least 1.
    """
    readings = _readings(channels, units)
    sources = range(units + 1)
    return ShufflePlan(
        tuple(tuple(channel for reading in readings for owner, channel in reading if owner == own) for own in sources),
        tuple(
            tuple(place for own in sources for place, (owner, _) in enumerate(reading) if owner == own)
            for reading in readings
        ),
        tuple(tuple(sum(owner == own for owner, _ in reading) for reading in readings) for own in sources),
    )


def _readings(channels: int, units: int) -> list[list[tuple[int, int]]]:
    """What each reader takes, in the unfolded stage's order: (source, channel of it)."""

    def given(source: int) -> list[tuple[int, int]]:
        return [(source, channel) for channel in range(channels)]

    readings = []
    flow = _interleaved(given(0), given(1))
    for unit in range(1, units):
        passed, convolved = flow[:channels], flow[channels:]
        readings.append(convolved)
        flow = _interleaved(passed, given(unit + 1))
    return [*readings, flow]


def _interleaved(first: list[T], second: list[T]) -> list[T]:
    return [item for pair in zip(first, second, strict=True) for item in pair]
