"""The shapes that all sources share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgedet.errors import EdgedetError


class SourceLostError(EdgedetError):
    """A camera or stream that gave frames gives none any more."""


@dataclass(frozen=True)
class StreamCounts:
    """What became of the frames of a camera or stream so far.

    Attributes:
        read: frames that came.
        dropped: of them, those that nobody looked at, as newer ones had come.
        reconnections: how often it was lost and came back.
        lost_seconds: how long it was away in all.
    """

    read: int = 0
    dropped: int = 0
    reconnections: int = 0
    lost_seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of a source.

    Attributes:
        image: uint8 `[h, w, 3]` BGR, upright.
        name: of an image, its path relative to the folder given; of a video or stream, the name of the whole.
        index: position in the source, from 0; of a camera or stream, dropped frames count too.
        counts: of a camera or stream, when this frame was taken from the queue.
    """

    image: NDArray[np.uint8]
    name: str
    index: int
    counts: StreamCounts | None = None


@dataclass(frozen=True)
class VideoInfo:
    """What a video or stream says of itself.

    Attributes:
        name: of its file, with the suffix; or a name made of the camera's number or the stream's address.
        frames_per_second: as stated, or 30 where nothing sensible is.
        is_live: it has no end of its own: a camera or a stream.
    """

    name: str
    frames_per_second: float
    is_live: bool


class Source(Protocol):
    """Frames, to be iterated over once.

    Attributes:
        video: None for a source of separate images.
        files: the files it reads.
        skipped: what could not be read so far, one line each.
        counts: of a camera or stream, so far; None for what drops no frame.
    """

    video: VideoInfo | None
    files: tuple[Path, ...]
    skipped: list[str]

    @property
    def counts(self) -> StreamCounts | None: ...

    def __iter__(self) -> Iterator[Frame]: ...
