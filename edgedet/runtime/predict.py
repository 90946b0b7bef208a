"""Detecting in every frame of a source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from edgedet.runtime.detector import Detector, Timings
from edgedet.runtime.drawn import drawn_files
from edgedet.runtime.results import Detections
from edgedet.runtime.sources import Frame, Source, StreamCounts


@dataclass(frozen=True, eq=False)
class Prediction:
    """What was found in one frame.

    Attributes:
        frame: the frame.
        detections: in its pixels.
        timings: milliseconds of each stage, without reading and drawing.
    """

    frame: Frame
    detections: Detections
    timings: Timings

    def to_dict(self) -> dict[str, Any]:
        """A plain record, ready for JSON; of a camera or stream with what became of its frames so far."""
        height, width = self.frame.image.shape[:2]
        counts = self.frame.counts
        return {
            "source": self.frame.name,
            "frame": self.frame.index,
            "width": width,
            "height": height,
            "detections": self.detections.to_dicts(),
            "ms": self.timings.to_dict(),
            **({} if counts is None else {"stream": asdict(counts)}),
        }

    def summary(self) -> str:
        """One line: `street.jpg 640x480: 2 person, 1 dog (8.1 ms)`."""
        height, width = self.frame.image.shape[:2]
        counts = Counter(self.detections.name)
        found = ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing"
        return f"{self.frame.name} {width}x{height}: {found} ({self.timings.total:.1f} ms)"


def predict(
    detector: Detector, source: Source, *, out: Path | None = None, limit: int | None = None
) -> Generator[Prediction, None, None]:
    """The detections in each frame of the source.

    Args:
        detector: finds the objects.
        source: from `edgedet.runtime.sources.open_source`.
        out: the folder that drawn frames are written into (`edgedet.runtime.drawn`); None draws nothing. A video is
            finished when the iterator is exhausted or closed.
        limit: stop after so many frames.

    Raises:
        SourceLostError: a camera or stream was lost for good; what was drawn up to there is kept.
    """
    drawing = nullcontext(_no_drawing) if out is None else drawn_files(source, out)
    with drawing as draw:
        for frame in islice(source, limit):
            detections = detector.detect([frame.image])[0]
            draw(frame, detections)
            yield Prediction(frame, detections, detector.timings)


def counts_summary(counts: StreamCounts, detected: int) -> str:
    """One line: `300 frames came, 120 detected in, 180 dropped; lost and found again once, 3.2 s away`."""
    line = f"{counts.read} frames came, {detected} detected in, {counts.dropped} dropped"
    if counts.reconnections == 0:
        return line
    times = "once" if counts.reconnections == 1 else f"{counts.reconnections} times"
    return f"{line}; lost and found again {times}, {counts.lost_seconds:.1f} s away"


def _no_drawing(frame: Frame, detections: Detections) -> None:
    """Where nothing is drawn."""
