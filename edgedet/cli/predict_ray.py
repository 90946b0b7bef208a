"""`edgedet predict --ray`: the shards of a large folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgedet.runtime.fleet import DetectorSettings
    from edgedet.runtime.sources import Source


def predict_in_shards(
    settings: DetectorSettings,
    source: Source,
    out: Path,
    shard_size: int,
    limit: int | None,
    *,
    address: str | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Runs the shards that are missing, with progress, and prints what became of them."""
    from functools import partial

    from edgedet.cli.output import emit, track
    from edgedet.runtime.fleet import make_plan
    from edgedet.runtime.fleet.cluster import predict_on_ray

    settings.load()  # what is wrong with the model is said before a cluster starts
    plan = make_plan(source, settings, out, shard_size=shard_size, limit=limit)
    results = [
        *track(predict_on_ray(plan, settings, address=address, workers=workers), "shards", unit="shards"),
    ]
    failed = [line for result in sorted(results, key=lambda one: one.number) for line in result.failed]
    record = {
        "out": str(out),
        "images": plan.image_count,
        "shards": plan.shard_count,
        "shards_written": len(results),
        "shards_kept": plan.shard_count - len(plan.shards),
        "detected_in": sum(result.images for result in results),
        "failed": failed,
    }
    emit(record, as_json, partial(_print_record, failed))


def _print_record(failed: list[str], record: dict[str, Any]) -> None:
    from edgedet.cli.output import console, printable

    print(
        printable(
            f"{record['out']}: {record['detected_in']} images detected in, {record['shards_written']} of "
            f"{record['shards']} shards written, {record['shards_kept']} were there"
        )
    )
    if failed:
        shown = "; ".join(failed[:3]) + (f"; and {len(failed) - 3} more" if len(failed) > 3 else "")
        count = "1 image" if len(failed) == 1 else f"{len(failed)} images"
        console().print(printable(f"warning: {count} could not be read: {shown}"))
