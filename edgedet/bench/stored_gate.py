"""The gate where the base is not a model but a result that was written earlier."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from edgedet.bench.accuracy import Accuracy, measured_maps
from edgedet.bench.comparison.compare import TOLERATED
from edgedet.bench.comparison.stored import BETWEEN_RUNS, compare_stored
from edgedet.bench.gate import MAX_DROP, GateResult, existing, measured, require_one_protocol, require_single_queries
from edgedet.bench.opening import NO_TRUST, Trust
from edgedet.bench.reproduce import settings_of
from edgedet.bench.result import read_result
from edgedet.bench.settings import Input
from edgedet.errors import EdgedetError
from edgedet.files import sha256_file
from edgedet.progress import Track, no_progress

STORED = ".json"

LAYERS = "layers are not compared with a stored result"
DISTURBED = "a run was disturbed: what was measured at different times is then not compared"


def run_stored_gate(
    base: Path,
    head: Path,
    *,
    data: Path | None = None,
    split: str | None = None,
    max_slowdown: float = TOLERATED,
    max_drop: float = MAX_DROP,
    between_runs: float = BETWEEN_RUNS,
    trust: Trust = NO_TRUST,
    track: Track = no_progress,
) -> GateResult:
    """Measures a head as its base was measured, and compares the two series: see `compare_stored`.

    Args:
        base: what `edgedet bench --save` wrote.
        head: a model file.
        data: the labelled images that the base was measured and evaluated on; None leaves accuracy out, and takes the
            input from where it was.
        split: which of them; None means the base's.
        max_slowdown: what is tolerated, e.g. .03.
        max_drop: mAP50-95 in points of 100 that may be lost.
        between_runs: by how much two runs of one model may differ on this machine, e.g. .05.
        trust: what of the head's file may be run.
        track: watches the evaluation.

    Raises:
        EdgedetError: the result cannot be read, was measured under another protocol, such as on another device, or
            says nothing of accuracy where that is asked for; the model does not run, or changed meanwhile.
        KeyboardInterrupt: it was interrupted while the head was measured.
    """
    stored = read_result(base)
    if data is not None and stored.map is None:
        fix = "measure the base with --data and --accuracy, or leave --data out"
        raise EdgedetError("the stored result says nothing of accuracy", where=base, fix=fix)
    if split not in (None, stored.protocol.settings.input.split):
        raise EdgedetError("the stored result is of other images", where="--split", fix="leave it out")
    given = Input() if data is None else Input(kind="dataset", path=data)
    settings = settings_of(stored.protocol, given)
    require_single_queries(settings)
    digest = sha256_file(existing(head))
    found = measured(head, settings, trust)
    require_one_protocol(stored, found, where=base)
    disturbed = bool(stored.disturbances or found.disturbances)
    comparison = compare_stored(
        stored.latencies,
        found.latencies,
        tolerated=max_slowdown,
        between_runs=between_runs,
        seconds=found.wall_seconds,
        disturbed=disturbed,
    )
    accuracy = None
    if data is not None and stored.map is not None:
        (head_map,), name, images = measured_maps([head], data, split=settings.input.split, trust=trust, track=track)
        accuracy = Accuracy(stored.map, head_map, max_drop, name, images)
    if sha256_file(head) != digest:
        raise EdgedetError("changed while it was measured", where=head, fix="run the gate again")
    notes = (LAYERS, DISTURBED) if disturbed else (LAYERS,)
    return GateResult(stored, found, comparison, None, accuracy, (), notes, datetime.now(timezone.utc))
