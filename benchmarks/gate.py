"""How often the gate is right: identical models, and models that are slower by a known cost.

    python benchmarks/gate.py [--trials 100] [--costs 0 3 10] [--time-limit 30]

Behind each query of base and head runs as much hashing as takes the share of the base's time that is wanted: it needs
nothing but the core, and hardly a cache. Only the head's counts, so that both are the same but for a known cost. What
it really was is measured in the trials themselves, and printed. Trials of all costs take turns.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import tempfile
from collections import Counter
from pathlib import Path
from time import perf_counter

from protocol import print_protocol

from edgedet.bench.comparison.compare import Comparison, compare
from edgedet.bench.comparison.sitting import AGAIN, BASE, HEAD, Opener, Timer, sit
from edgedet.bench.comparison.timers import model_opener
from edgedet.bench.pinning import pinned
from edgedet.bench.settings import Settings
from edgedet.graph.export import export_model

CALIBRATION_SITTINGS = 12


class SlowedTimer:
    """A timer, and some rounds of hashing behind each query, which count where there is a list for their costs.

    To the list comes, of each turn, the share of the median that they add, which is what a comparison looks at.
    """

    def __init__(self, timer: Timer, rounds: int, costs: list[float] | None) -> None:
        self._timer, self._rounds, self._costs = timer, rounds, costs

    def times(self, count: int) -> list[float]:
        alone, together = [], []
        for _ in range(count):
            alone += self._timer.times(1)
            together.append(alone[-1] + hashing_ms(self._rounds))
        if self._costs is None:
            return alone
        self._costs.append(statistics.median(together) / statistics.median(alone) - 1)
        return together

    def close(self) -> None:
        self._timer.close()


def hashing_ms(rounds: int) -> float:
    start = perf_counter()
    hashlib.pbkdf2_hmac("sha256", b"password", b"salt", rounds)
    return (perf_counter() - start) * 1e3


def hashing(opener: Opener, rounds: int, costs: list[float] | None = None) -> Opener:
    return lambda number: SlowedTimer(opener(number), rounds, costs) if rounds else opener(number)


def calibrated(opener: Opener, share: float) -> int:
    """The rounds of hashing that take that share of the model's time while it takes turns with two others."""
    rounds = 100 if share else 0
    for _ in range(3 if share else 0):
        costs: list[float] = []
        for number in range(CALIBRATION_SITTINGS):
            base = hashing(opener, rounds)
            sit({BASE: base, AGAIN: base, HEAD: hashing(opener, rounds, costs)}, number)
        rounds = max(1, round(rounds * share / statistics.median(costs)))
    return rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--costs", type=float, nargs="+", default=[0, 3, 10], help="in percent")
    parser.add_argument("--max-slowdown", type=float, default=3.0, help="in percent")
    parser.add_argument("--time-limit", type=float, default=30.0, help="seconds of a trial")
    parser.add_argument("--model", default="shufflenetv2_0.5x")
    parser.add_argument("--imgsz", type=int, default=160)
    arguments = parser.parse_args()
    found: dict[float, list[Comparison]] = {cost: [] for cost in arguments.costs}
    really: dict[float, list[float]] = {cost: [] for cost in arguments.costs}
    with tempfile.TemporaryDirectory() as folder, pinned(1):
        file = Path(folder) / "model.onnx"
        export_model(arguments.model, file, classes=80, size=(arguments.imgsz, arguments.imgsz))
        base = model_opener([file], Settings())
        added = {cost: calibrated(base, cost / 100) for cost in arguments.costs}
        for trial in range(arguments.trials):
            for cost, rounds in added.items():
                costs: list[float] = []
                comparison = compare(
                    hashing(base, rounds),
                    hashing(base, rounds, costs),
                    tolerated=arguments.max_slowdown / 100,
                    time_limit=arguments.time_limit,
                )
                found[cost].append(comparison)
                really[cost].append(statistics.median(costs) if costs else 0.0)
                verdict = comparison.verdict
                print(
                    f"# trial {trial + 1}, cost {really[cost][-1]:.2%}: {verdict.word}, "
                    f"{verdict.slowdown.estimate:+.2%} "
                    f"({verdict.slowdown.low:+.2%} to {verdict.slowdown.high:+.2%}), noise {verdict.noise_floor:.2%}, "
                    f"{verdict.sittings} sittings, {comparison.seconds:.0f} s",
                    flush=True,
                )
                if comparison.interrupted:
                    raise KeyboardInterrupt
    words = ("slower", "inconclusive", "same", "faster")
    columns = ("cost, %", "what it was", *words, "estimate: median, 5th to 95th percentile", "seconds")
    print(f"| {' | '.join(columns)} |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for cost, comparisons in found.items():
        counts = Counter(comparison.verdict.word for comparison in comparisons)
        estimates = sorted(comparison.verdict.slowdown.estimate for comparison in comparisons)
        spread = [estimates[round(share * (len(estimates) - 1))] for share in (0.05, 0.95)]
        seconds = statistics.median(comparison.seconds for comparison in comparisons)
        print(
            f"| {cost:g} | {statistics.median(really[cost]):.2%} | {' | '.join(str(counts[word]) for word in words)} | "
            f"{statistics.median(estimates):+.2%}, {spread[0]:+.2%} to {spread[1]:+.2%} | {seconds:.0f} |"
        )
    settings = {"trials": arguments.trials, "max_slowdown": arguments.max_slowdown, "time_limit": arguments.time_limit}
    print_protocol("edgedet", "onnxruntime", model=f"{arguments.model} @{arguments.imgsz}", **settings)


if __name__ == "__main__":
    main()
