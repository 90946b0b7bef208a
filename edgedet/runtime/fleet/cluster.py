"""Shards on a cluster, through Ray Data."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Generator
from pathlib import Path
from typing import Any

from edgedet.errors import EdgedetError
from edgedet.runtime.fleet.plan import Plan
from edgedet.runtime.fleet.shard import DetectorSettings, Shard, ShardImage, ShardResult, ShardWriter

LOCAL = "local"
"""The address that starts a cluster on this machine, and ends it afterwards."""

LOOPBACK = "127.0.0.1"
CONNECT_SECONDS = 10.0


class RayWorker:
    """Runs in a process of Ray's, which keeps it for all of its shards.

    Args:
        settings: of the detector.
        out: the folder of the shards.
    """

    def __init__(self, settings: DetectorSettings, out: str) -> None:
        self._settings, self._out = settings, Path(out)
        self._writer: ShardWriter | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """From a row of `_to_row` to one of `_result`; an error becomes a row, as Ray keeps no more than its text."""
        images = zip(row["paths"], row["names"], row["indexes"], strict=True)
        shard = Shard(
            int(row["number"]), tuple(ShardImage(str(path), str(name), int(index)) for path, name, index in images)
        )
        done = {"number": shard.number, "images": 0, "failed": "", "what": "", "where": "", "fix": ""}
        try:
            self._writer = self._writer or ShardWriter(self._settings, self._out)
            result = self._writer.write(shard)
        except EdgedetError as error:
            return {**done, "what": error.what, "where": error.where or "", "fix": error.fix or ""}
        return {**done, "images": result.images, "failed": "\n".join(result.failed)}


def predict_on_ray(
    plan: Plan, settings: DetectorSettings, *, address: str | None = None, workers: int | None = None
) -> Generator[ShardResult, None, None]:
    """Writes the plan's shards, and tells of each when it is there, in any order.

    The model, the images and the output folder have the same paths on all machines, and edgedet is installed there.

    Args:
        plan: from `make_plan`.
        settings: of the detector; loaded once in each worker, on so many CPUs as it has threads.
        address: of a cluster that runs, `auto` for the one on this machine; None starts one here for this run.
        workers: how many at most; None takes as many as the cluster has CPUs (or GPUs) for.

    Raises:
        EdgedetError: the cluster cannot be reached, or a worker failed.
        ModuleNotFoundError: Ray is not installed.
    """
    # Ray reads these when it is imported. A cluster that is started here sends nobody any statistics of its use; and
    # what its daemons remark is in their own logs.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray
    import ray.data
    from ray.exceptions import RayError

    if not plan.shards:
        return
    _connect(ray, address)
    try:
        cpus, gpus = settings.threads or 1, 0 if settings.device == "cpu" else 1
        count = min(workers or _room(ray.cluster_resources(), cpus, gpus), len(plan.shards))
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        ray.data.DataContext.get_current().enable_progress_bars = False
        # Any: with Ray's types, which are not always installed, a class that makes functions is none.
        rows: Any = ray.data.from_items([_to_row(shard) for shard in plan.shards])
        results = rows.map(
            RayWorker,
            fn_constructor_kwargs={"settings": settings, "out": str(plan.out.resolve())},
            compute=ray.data.ActorPoolStrategy(size=count),
            num_cpus=cpus,
            num_gpus=gpus or None,
        )
        for row in results.iter_rows():
            yield _result(row)
    except RayError as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        fix = "shards that were written stay: the same command goes on with the others"
        raise EdgedetError(f"a worker failed: {said[-1][:500]}", fix=fix) from error
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str | None) -> None:
    """A cluster of our own listens on this machine alone."""
    own = {"include_dashboard": False, "_node_ip_address": LOOPBACK} if address is None else {}
    try:
        _require_listener(address)
        ray.init(address=address or LOCAL, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (OSError, ValueError, RuntimeError) as error:
        fix = "start one with `ray start --head`, or leave --ray-address out"
        raise EdgedetError(f"no Ray cluster there ({error})", where=address, fix=fix) from error


def _require_listener(address: str | None) -> None:
    """Of `host:port`: Ray itself would try for many minutes."""
    found = re.fullmatch(r"(?:ray://)?([\w.-]+):(\d{1,5})", address or "", re.ASCII)
    if found is not None:
        socket.create_connection((found[1], int(found[2])), CONNECT_SECONDS).close()


def _room(resources: dict[str, float], cpus: int, gpus: int) -> int:
    """How many workers fit that take so many each, at least one."""
    room = resources.get("CPU", 1) // cpus
    return max(1, int(room if gpus == 0 else min(room, resources.get("GPU", 0) // gpus)))


def _result(row: dict[str, Any]) -> ShardResult:
    if row["what"]:
        raise EdgedetError(f"a worker failed: {row['what']}", where=row["where"] or None, fix=row["fix"] or None)
    return ShardResult(int(row["number"]), int(row["images"]), tuple(row["failed"].splitlines()))


def _to_row(shard: Shard) -> dict[str, Any]:
    """Columns that Arrow can hold."""
    return {
        "number": shard.number,
        "paths": [image.path for image in shard.images],
        "names": [image.name for image in shard.images],
        "indexes": [image.index for image in shard.images],
    }
