"""Which images belong to which shard, and which shards are still to be done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgedet.config import Digest, Frozen, parse
from edgedet.errors import EdgedetError
from edgedet.files import MEBIBYTE, read_text, require_writable_folder, sha256_file, write_json
from edgedet.runtime.fleet.shard import DetectorSettings, Shard, ShardImage, shard_path
from edgedet.runtime.sources import Source
from edgedet.runtime.sources.images import ImageSource

MANIFEST = "run.json"


class Manifest(Frozen):
    """What the shards in a folder are of: a run goes on only in a folder of the same.

    Attributes:
        model_sha256: of the model's file.
        score, iou: thresholds that were asked for; None are the model's.
        images: how many.
        names_sha256: of the images' names, in their order.
        shard_size: images a shard.
    """

    version: Literal[1] = 1
    kind: Literal["predict shards"] = "predict shards"
    model_sha256: Digest
    score: float | None
    iou: float | None
    images: int
    names_sha256: Digest
    shard_size: int


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        out: the folder of the shards.
        shards: those that are not there yet.
        shard_count, image_count: of the whole run.
    """

    out: Path
    shards: tuple[Shard, ...]
    shard_count: int
    image_count: int


def make_plan(
    source: Source, detector: DetectorSettings, out: Path, *, shard_size: int, limit: int | None = None
) -> Plan:
    """Cuts the images into shards, and leaves out those that an earlier run has written.

    Args:
        source: image files.
        detector: what finds the objects.
        out: the folder for `run.json` and the shards.
        shard_size: images a shard.
        limit: take the first so many images only.

    Raises:
        EdgedetError: the source is a video, camera or stream, or the folder holds another run's shards.
    """
    if not isinstance(source, ImageSource):
        raise EdgedetError(
            "only images are taken apart into shards; a video or stream is one piece",
            where=None if source.video is None else source.video.name,
            fix="leave --ray out, or name a folder or a pattern",
        )
    images = [ShardImage(str(path), name, index) for index, (path, name) in enumerate(source.named_files())][:limit]
    manifest = Manifest(
        model_sha256=sha256_file(Path(detector.model)),
        score=detector.score,
        iou=detector.iou,
        images=len(images),
        names_sha256=_digest(images),
        shard_size=shard_size,
    )
    require_writable_folder(out)
    _require_same_run(out / MANIFEST, manifest)
    starts = range(0, len(images), shard_size)
    shards = [Shard(number, tuple(images[start : start + shard_size])) for number, start in enumerate(starts)]
    left = tuple(shard for shard in shards if not shard_path(out, shard.number).is_file())
    return Plan(out, left, len(shards), len(images))


def _digest(images: Sequence[ShardImage]) -> str:
    digest = hashlib.sha256()
    for image in images:
        # No file's name holds a NUL.
        digest.update(image.name.encode(errors="surrogateescape") + b"\0")
    return digest.hexdigest()


def _require_same_run(path: Path, manifest: Manifest) -> None:
    """Writes the manifest where there is none."""
    if not path.exists():
        write_json(path, manifest.model_dump(mode="json"))
        return
    try:
        found = parse(Manifest, json.loads(read_text(path, limit=MEBIBYTE)), where=path)
    except ValueError as error:
        raise EdgedetError("not valid JSON", where=path, fix="choose another --out folder") from error
    before, now = found.model_dump(), manifest.model_dump()
    different = [name for name in now if before[name] != now[name]]
    if different:
        raise EdgedetError(
            f"the folder holds the shards of another run; different: {', '.join(different)}",
            where=path,
            fix="choose another --out folder, or delete this one",
        )
