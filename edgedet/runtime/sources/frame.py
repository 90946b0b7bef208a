"""The shapes that all sources share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of a source.

    Attributes:
        image: uint8 `[h, w, 3]` BGR, upright.
        name: of an image, its path relative to the folder given; of a video or stream, the name of the whole.
        index: position in the source, from 0.
    """

    image: NDArray[np.uint8]
    name: str
    index: int


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
    """

    video: VideoInfo | None
    files: tuple[Path, ...]
    skipped: list[str]

    def __iter__(self) -> Iterator[Frame]: ...
