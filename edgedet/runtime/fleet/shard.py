"""One shard: the images of it detected in, and its file of JSON lines."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet.data.images import read_image
from edgedet.errors import EdgedetError
from edgedet.files import write_text
from edgedet.runtime.detector import Detector
from edgedet.runtime.load import load_detector
from edgedet.runtime.predict import Prediction
from edgedet.runtime.sources import Frame


@dataclass(frozen=True)
class ShardImage:
    """One image: its file, its name relative to the folder given, and its position in the whole run."""

    path: str
    name: str
    index: int


@dataclass(frozen=True)
class Shard:
    """Images that are written into one file.

    Attributes:
        number: from 0.
        images: in their order.
    """

    number: int
    images: tuple[ShardImage, ...]


@dataclass(frozen=True)
class ShardResult:
    """What became of a shard.

    Attributes:
        number: the shard's.
        images: how many were detected in.
        failed: those that could not be read, one line each.
    """

    number: int
    images: int
    failed: tuple[str, ...]


@dataclass(frozen=True)
class DetectorSettings:
    """How a worker opens the detector, see `edgedet.runtime.load.load_detector`; paths as text, to be sent elsewhere.

    Attributes:
        model: the model's file.
        threads: for inference.
        device, operators, force, allow_code: of the backend.
        score, iou: thresholds; None are the model's.
    """

    model: str
    threads: int | None = 1
    device: str = "cpu"
    operators: str | None = None
    force: bool = False
    allow_code: bool = False
    score: float | None = None
    iou: float | None = None

    def load(self) -> Detector:
        """The detector.

        Raises:
            EdgedetError: the model does not load, or a threshold does not fit it.
        """
        detector = load_detector(
            Path(self.model),
            threads=self.threads,
            device=self.device,
            operators=None if self.operators is None else Path(self.operators),
            force=self.force,
            allow_code=self.allow_code,
        )
        return detector.with_postprocess(score_threshold=self.score, iou_threshold=self.iou)


class ShardWriter:
    """Loads the detector once, and writes shard after shard.

    Args:
        settings: of the detector.
        out: the folder of the shards.
    """

    def __init__(self, settings: DetectorSettings, out: Path) -> None:
        self._detector = settings.load()
        self._out = out

    def write(self, shard: Shard) -> ShardResult:
        """Writes the shard's file, all or nothing: a line an image, in order, as `edgedet predict --json` prints them.

        An image that cannot be read has `error` in place of what was found.

        Raises:
            EdgedetError: the file cannot be written.
        """
        records = [self._record(image) for image in shard.images]
        lines = "".join(f"{json.dumps(record, allow_nan=False)}\n" for record in records)
        write_text(shard_path(self._out, shard.number), lines)
        failed = tuple(f"{record['source']}: {record['error']}" for record in records if "error" in record)
        return ShardResult(shard.number, len(records) - len(failed), failed)

    def _record(self, image: ShardImage) -> dict[str, Any]:
        try:
            pixels = read_image(Path(image.path))
        except EdgedetError as error:
            return {"source": image.name, "frame": image.index, "error": error.what}
        found = self._detector.detect([pixels])[0]
        return Prediction(Frame(pixels, image.name, image.index), found, self._detector.timings).to_dict()


def shard_path(out: Path, number: int) -> Path:
    """`part-000012.jsonl`."""
    return out / f"part-{number:06}.jsonl"
