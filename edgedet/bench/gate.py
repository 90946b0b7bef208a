"""The gate: a head is let pass that is neither slower nor worse than its base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from edgedet.bench.accuracy import Accuracy, compare_accuracy
from edgedet.bench.comparison.compare import TIME_LIMIT, TOLERATED, Comparison, compare
from edgedet.bench.comparison.spread import BuildSpread, build_spread
from edgedet.bench.comparison.timers import model_opener
from edgedet.bench.layers.moved import Move, beyond_noise, moved
from edgedet.bench.layers.profile import ONNX, profile_layers
from edgedet.bench.measure import measure
from edgedet.bench.opening import ENGINE, NO_TRUST, Trust
from edgedet.bench.pinning import pinned
from edgedet.bench.protocol import differences
from edgedet.bench.result import Result
from edgedet.bench.settings import CPU, Settings
from edgedet.errors import EdgedetError
from edgedet.files import sha256_file
from edgedet.progress import Track, no_progress

MAX_DROP = 0.3

Outcome = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True)
class GateResult:
    """What the gate found.

    Attributes:
        base, head: each measured by itself, by the same protocol.
        comparison: both in turn.
        builds: of engines, how far their builds lie apart; None where there was one of each.
        accuracy: None where no data was given.
        moves: the layers whose times differ by more than any of the base's does between two profiles of it; empty where
            they were not timed.
        notes: what could not be looked at, and why.
        measured_at: when it ended.
    """

    base: Result
    head: Result
    comparison: Comparison
    builds: Mapping[str, BuildSpread] | None
    accuracy: Accuracy | None
    moves: tuple[Move, ...]
    notes: tuple[str, ...]
    measured_at: datetime

    @property
    def outcome(self) -> Outcome:
        """`fail` where it is slower or worse, whatever else is not known; `pass` where all is known to hold."""
        word = self.comparison.verdict.word
        if word == "slower" or (self.accuracy is not None and not self.accuracy.holds):
            return "fail"
        return "inconclusive" if word == "inconclusive" or self.comparison.interrupted else "pass"

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "version": 1,
            "kind": "gate",
            "measured_at": self.measured_at.isoformat(),
            "outcome": self.outcome,
            "verdict": self.comparison.verdict.word,
            "comparison": self.comparison.to_dict(),
            "builds": None if self.builds is None else {arm: vars(found) for arm, found in self.builds.items()},
            "accuracy": None if self.accuracy is None else self.accuracy.to_dict(),
            "moves": [move.to_dict() for move in self.moves],
            "notes": list(self.notes),
            "base": self.base.model_dump(mode="json"),
            "head": self.head.model_dump(mode="json"),
        }


def run_gate(
    base: Sequence[Path],
    head: Sequence[Path],
    settings: Settings,
    *,
    data: Path | None = None,
    split: str | None = None,
    max_slowdown: float = TOLERATED,
    max_drop: float = MAX_DROP,
    time_limit: float = TIME_LIMIT,
    fresh_processes: bool = False,
    with_layers: bool = True,
    trust: Trust = NO_TRUST,
    track: Track = no_progress,
) -> GateResult:
    """Compares speed, accuracy and layers of two models, on this machine, now.

    Args:
        base, head: a model file each, or several builds of one engine.
        settings: how they are measured.
        data: labelled images; None leaves accuracy out.
        split: which of them; None means `val`, or the only one.
        max_slowdown: what is tolerated, e.g. .03.
        max_drop: mAP50-95 in points of 100 that may be lost.
        time_limit: seconds for the comparison in turn.
        fresh_processes: whether each sitting has processes of its own.
        with_layers: whether the layers are timed, too.
        trust: what of the files may be run.
        track: watches.

    Raises:
        EdgedetError: a model does not run, both are not measured by the same protocol, a file changed meanwhile, or the
            settings are not of single queries.
        KeyboardInterrupt: it was interrupted before the models took turns; from then on the result says so.
    """
    require_single_queries(settings)
    before = {path: sha256_file(existing(path)) for path in (*base, *head)}
    first_base, first_head = (measured(side[0], settings, trust) for side in (base, head))
    require_one_protocol(first_base, first_head, where=head[0])
    with pinned(settings.threads):
        one, again, other = (
            model_opener(side, settings, trust=trust, fresh_processes=fresh_processes, first=build)
            for side, build in ((base, 0), (base, 1), (head, 0))
        )
        comparison = compare(one, other, again=again, tolerated=max_slowdown, time_limit=time_limit, track=track)
    accuracy = None
    moves: tuple[Move, ...] = ()
    notes: tuple[str, ...] = ()
    try:
        if data is not None and not comparison.interrupted:
            accuracy = compare_accuracy(
                base[0], head[0], data, split=split, max_drop=max_drop, trust=trust, track=track
            )
        if with_layers and not comparison.interrupted:
            moves, notes = _moves(base[0], head[0], settings, trust)
    except KeyboardInterrupt:
        comparison = replace(comparison, interrupted=True)
    changed = [str(path) for path, digest in before.items() if not path.is_file() or sha256_file(path) != digest]
    if changed:
        raise EdgedetError(f"changed while it was measured: {', '.join(changed)}", fix="run the gate again")
    builds = None
    if len(base) > 1 or len(head) > 1:
        builds = build_spread(comparison.sittings, len(base), len(head))
    return GateResult(first_base, first_head, comparison, builds, accuracy, moves, notes, datetime.now(timezone.utc))


def require_single_queries(settings: Settings) -> None:
    """Refuses settings that a comparison cannot keep.

    Raises:
        EdgedetError: several queries at once, or a camera's rate.
    """
    if settings.streams > 1 or settings.fps is not None:
        fix = "leave --streams and --fps out"
        raise EdgedetError("two models are compared by queries that follow each other, one at a time", fix=fix)


def measured(model: Path, settings: Settings, trust: Trust) -> Result:
    """A measurement of one model.

    Raises:
        EdgedetError: it does not run.
        KeyboardInterrupt: it was interrupted: there is nothing to compare yet.
    """
    result = measure(model, settings, trust).result
    if result.interrupted:
        raise KeyboardInterrupt
    return result


def require_one_protocol(base: Result, head: Result, *, where: Path) -> None:
    """Refuses to compare what was measured differently.

    Raises:
        EdgedetError: it says in what the protocols differ.
    """
    found = differences(base.protocol, head.protocol)
    if found:
        fix = "compare models of one input size on one runtime and one machine"
        raise EdgedetError(f"measured under different protocols: {'; '.join(found)}", where=where, fix=fix)


def existing(path: Path) -> Path:
    """The path of a file that is there.

    Raises:
        EdgedetError: it is not.
    """
    if not path.is_file():
        raise EdgedetError("no such model file", where=path, fix="check the path")
    return path


def _moves(base: Path, head: Path, settings: Settings, trust: Trust) -> tuple[tuple[Move, ...], tuple[str, ...]]:
    kinds = {path.suffix.lower() for path in (base, head)}
    if not kinds <= {ONNX, ENGINE}:
        return (), ("layers are not timed: PyTorch's are not those that are deployed",)
    if ONNX in kinds and settings.device not in (None, CPU):
        return (), (f"layers are not timed: ONNX Runtime tells the CPU's times alone, not those on {settings.device}",)
    tables = [
        profile_layers(model, threads=settings.threads, trust=trust, with_peak=False) for model in (base, head, base)
    ]
    found = beyond_noise(moved(tables[0], tables[1]), again=moved(tables[0], tables[2]))
    return tuple(found), tuple(dict.fromkeys(note for table in tables for note in table.notes))
