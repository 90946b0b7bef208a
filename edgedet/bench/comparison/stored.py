"""A head held to a measurement that was made earlier: less sure than two in turn, and said to be."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from edgedet.bench.comparison.compare import Comparison, arm_of
from edgedet.bench.comparison.interval import SEED, Interval, resampled_medians
from edgedet.bench.comparison.ranks import rank_sum_probability
from edgedet.bench.comparison.sitting import BASE, HEAD
from edgedet.bench.comparison.verdict import ERROR_AT_LAST, Verdict, Word, word_of
from edgedet.errors import EdgedetError

BETWEEN_RUNS = 0.55
"""How far the medians of two runs of one model may lie apart where nobody has measured it. On a virtual machine (AMD
EPYC) whose second CPU had other work, 99 of 100 pairs of 15 runs that nothing was known to disturb lay within 54 %
(`benchmarks/between_runs.py --runs 40 --pause 2`). A machine of its own does with far less."""

BLOCKS = 24
"""Of consecutive queries, of each run: neighbours see the same moment of the machine, and count once together."""

FEWEST_QUERIES = 2 * BLOCKS
"""Fewer say little about a median."""


def compare_stored(
    base: Sequence[float],
    head: Sequence[float],
    *,
    tolerated: float,
    between_runs: float,
    seconds: float,
    disturbed: bool,
) -> Comparison:
    """Which of two series of latencies is faster, where they were measured one long after the other.

    Memory, clocks and caches differ from run to run, and no statistics of one run see that. So the interval of the
    ratio of medians is widened by `between_runs` on both sides: what lies beyond is more than two runs of one model
    differ by, and what passes would pass wherever within it the base's run had been.

    Args:
        base, head: milliseconds of every query, in the order in which they ended.
        tolerated: slowdown, e.g. .03.
        between_runs: how far two runs of one model may lie apart on this machine.
        seconds: that the head's run took.
        disturbed: whether one of the runs was: then nothing bounds how far they may differ, and nothing is said.

    Raises:
        EdgedetError: there are too few queries, or a latency is not above 0.
    """
    medians = {BASE: _block_medians(base, "base"), HEAD: _block_medians(head, "head")}
    slowdown = _slowdown(medians[BASE], medians[HEAD], error=ERROR_AT_LAST)
    wide = Interval(
        slowdown.estimate, (1 + slowdown.low) / (1 + between_runs) - 1, (1 + slowdown.high) * (1 + between_runs) - 1
    )
    allowed = Interval(0.0, 1 / (1 + between_runs) - 1, between_runs)
    probability = rank_sum_probability(medians[HEAD], medians[BASE])
    clear = probability < ERROR_AT_LAST
    word: Word = "inconclusive" if disturbed else word_of(wide, tolerated, clear=clear, last=False)
    verdict = Verdict(word, wide, allowed, probability, tolerated, BLOCKS, final=True)
    return Comparison(verdict, (verdict,), {BASE: arm_of(base), HEAD: arm_of(head)}, (), seconds, interrupted=False)


def _block_medians(latencies: Sequence[float], whose: str) -> list[float]:
    if len(latencies) < FEWEST_QUERIES:
        fix = "measure it for longer (--duration)"
        raise EdgedetError(f"{len(latencies)} queries of the {whose} say nothing, {FEWEST_QUERIES} do", fix=fix)
    if min(latencies) <= 0:
        raise EdgedetError(f"a query of the {whose} took {min(latencies):g} ms", fix="measure it again")
    return [statistics.median(block.tolist()) for block in np.array_split(np.asarray(latencies, np.float64), BLOCKS)]


def _slowdown(base: Sequence[float], head: Sequence[float], *, error: float) -> Interval:
    """Of the head, by the ratio of the medians of resampled blocks (percentiles, as `median_interval` takes them)."""
    random = np.random.default_rng(SEED)
    ratios = resampled_medians(head, random) / resampled_medians(base, random)
    low, high = np.quantile(ratios, [error / 2, 1 - error / 2], method="inverted_cdf")
    return Interval(statistics.median(head) / statistics.median(base) - 1, float(low) - 1, float(high) - 1)
